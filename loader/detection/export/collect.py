"""Choose rules, hand each to an exporter, and keep account: every chosen rule is exported or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loader.detection.compile import Pack
from loader.detection.export.model import Document, Export, Node, Refusal, Target, UnsaidError
from loader.detection.load import LEVELS, RuleSet
from loader.detection.model import Level, Rule
from loader.errors import RuleError


@dataclass(frozen=True)
class Selection:
    """Which rules are meant: by id, name or file stem, by tag (``attack.t1098*``), from a level upwards."""

    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    level: Level | None = None

    def takes(self, rule: Rule) -> bool:
        """Say whether ``rule`` is chosen."""
        if self.names and not self.names_of(rule) & {name.lower() for name in self.names}:
            return False
        if self.tags and not any(_is_tagged(rule, tag.lower()) for tag in self.tags):
            return False
        return self.level is None or LEVELS.index(rule.level) >= LEVELS.index(self.level)

    @staticmethod
    def names_of(rule: Rule) -> set[str]:
        """Return what ``rule`` can be called by, in lower case."""
        return {name.lower() for name in (rule.name, rule.sigma_name or "", rule.uuid, rule.path.stem) if name}


def _is_tagged(rule: Rule, wanted: str) -> bool:
    if wanted.endswith("*"):
        return any(tag.lower().startswith(wanted[:-1]) for tag in rule.tags)
    return wanted in {tag.lower() for tag in rule.tags}


def collect(
    target: Target,
    rules: RuleSet,
    pack: Pack,
    selection: Selection,
    export: Callable[[Node], Document],
    *,
    preface: Sequence[Document] = (),
) -> Export:
    """Export every chosen rule of ``pack`` that raises alerts by itself.

    A rule that did not compile is refused with the compiler's reason, one that waits for a list or a geo database with
    what it lacks, one that ``export`` cannot express with its own reason.

    Raises:
        RuleError: a name in ``selection`` is no rule's.
    """
    everything = (*rules.rules, *rules.correlations)
    known = set().union(*(selection.names_of(rule) for rule in everything)) if everything else set()
    if missing := [name for name in selection.names if name.lower() not in known]:
        raise RuleError(f"no such rule: {', '.join(sorted(missing))}", hint="siem rules list")
    documents, refused = [], []
    for node in sorted(pack.alerting, key=lambda node: (node.rule.name, node.rule.where)):
        if not selection.takes(node.rule):
            continue
        try:
            documents.append(export(node))
        except UnsaidError as error:
            where = error.where or _where(rules, node.rule, error)
            refused.append(Refusal(target, node.rule.name, where, error.reason, error.hint))
    waiting = (one for one in pack.waiting if selection.takes(one.rule))
    refused += [Refusal(target, one.rule.name, one.rule.where, one.reason) for one in waiting]
    by_place = {(rule.path, rule.line): rule for rule in everything}
    for problem in pack.errors:
        rule = _rule_at(by_place, problem.path, problem.line)
        if rule is None or selection.takes(rule):
            name = rule.name if rule else problem.path.stem
            refused.append(Refusal(target, name, problem.where, problem.message, problem.hint))
    return Export(target, _with_names_of_their_own(documents), tuple(refused), tuple(preface))


def _where(rules: RuleSet, rule: Rule, error: UnsaidError) -> str:
    return f"{rule.path}:{rules.line(rule, *error.path) if error.path else rule.line}"


def _rule_at(by_place: Mapping[tuple[Path, int], Rule], path: Path, line: int) -> Rule | None:
    """Return the rule that a line of a file belongs to: the last that begins before it."""
    before = [(start, rule) for (file, start), rule in by_place.items() if file == path and start <= line]
    return max(before, key=lambda found: found[0])[1] if before else None


def _with_names_of_their_own(documents: list[Document]) -> tuple[Document, ...]:
    """Tell files of rules of the same name apart (from several folders): none may overwrite another."""
    taken: set[str] = set()
    named = []
    for document in documents:
        stem, _, suffix = document.name.rpartition(".")
        name, number = document.name, 1
        while name.lower() in taken:  # file systems may ignore case
            number += 1
            name = f"{stem}-{number}.{suffix}"
        taken.add(name.lower())
        named.append(replace(document, name=name))
    return tuple(named)
