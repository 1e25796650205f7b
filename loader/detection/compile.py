"""Compile what was loaded: rules to queries, filters added, correlations with their base rules and fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from sigma.exceptions import SigmaError, SigmaRuleLocation
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import ValueListPlaceholderTransformation
from sigma.rule import SigmaRule

from loader.detection.backend import SiemBackend
from loader.detection.chains import compile_correlations
from loader.detection.clauses import Clause, both, either
from loader.detection.encodings import correct_encodings
from loader.detection.fields import Schema, field_map, schema_of
from loader.detection.load import RuleSet
from loader.detection.locations import advice, culprit, locate
from loader.detection.model import (
    CompiledCorrelation,
    CompiledFilter,
    CompiledRule,
    Engine,
    Filter,
    LogSource,
    Problem,
    Query,
    Rule,
    raising,
)
from loader.detection.needs import NO_PLACES, Variables, missing, with_networks
from loader.detection.places import Places
from loader.detection.sources import source_for
from loader.detection.unsupported import UnsupportedError
from loader.errors import RuleError
from loader.project import mappings_dir


@dataclass(frozen=True, slots=True)
class Waiting:
    """A rule that cannot be run yet, and why; ``compiled`` if it is a correlation, which can be tried with places."""

    rule: Rule
    reason: str
    compiled: CompiledCorrelation | None = None


@dataclass(frozen=True)
class Pack:
    """A compiled set of rules. ``problems`` holds those of loading, too; a rule with an error is not in the pack.

    ``rules`` raise alerts by themselves. ``base_rules`` only feed correlations (no ``generate: true``), and so do those
    of ``correlations`` that are not in :attr:`alerting`.
    """

    rules: tuple[CompiledRule, ...] = ()
    base_rules: tuple[CompiledRule, ...] = ()
    correlations: tuple[CompiledCorrelation, ...] = ()
    problems: tuple[Problem, ...] = ()
    engine: Engine = "opensearch"
    #: Rules that lack a list or a geo database: they are not run, and whoever shows the pack says so.
    waiting: tuple[Waiting, ...] = ()
    #: The exceptions that are compiled into the rules.
    filters: tuple[Filter, ...] = ()

    @property
    def alerting(self) -> tuple[CompiledRule | CompiledCorrelation, ...]:
        """Return what raises alerts by itself: rules, and correlations that no other one consumes."""
        return tuple(raising((*self.rules, *self.correlations)))

    @property
    def known(self) -> tuple[Rule, ...]:
        """Return every rule there is: those that run, those that feed correlations, and those that wait."""
        compiled = (*self.rules, *self.base_rules)
        others = (*(one.rule for one in self.correlations), *(one.rule for one in self.waiting))
        return (*(one.rule for one in compiled), *others)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Return the problems that cost a rule."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def load_variables(path: Path | None = None) -> Variables:
    """Read the values of placeholders (``%admins%``): this project's lists, which are empty, and those at ``path``.

    ``path`` is a YAML map of name → value or list.

    Raises:
        RuleError: it is no such map.
    """
    own = _read_variables(mappings_dir() / "sigma" / "variables.yml")
    return own if path is None else {**own, **_read_variables(path)}


def _read_variables(path: Path) -> Variables:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RuleError(f"the variables cannot be read: {error}", where=str(path)) from None
    if not isinstance(found, dict):
        raise RuleError("the variables must be a map of name to value or list of values", where=str(path))
    return found


def compile_rules(
    rules: RuleSet,
    *,
    engine: Engine = "opensearch",
    variables: Variables | None = None,
    places: Places | None = None,
) -> Pack:
    """Compile everything that can be compiled; what cannot is a problem of its own rule only.

    ``variables`` are the lists of placeholders (without: this project's own, :func:`load_variables`), ``places`` says
    where addresses are. Rules that lack either are in :attr:`Pack.waiting`.
    """
    variables = load_variables() if variables is None else variables
    lacking = missing(rules, variables, places=places is not None)
    compiler = _Compiler(rules, engine, variables)
    for rule in rules.rules:
        if rule.where not in lacking:
            compiler.attempt(rule)
    # A correlation over a rule that cannot be compiled for want of a list cannot be compiled either.
    able = [rule for rule in rules.correlations if lacking.get(rule.where) in (None, NO_PLACES)]
    correlations, problems = compile_correlations(replace(rules, correlations=tuple(able)), compiler.compiled, places)
    compiled = {one.rule.where: one for one in correlations}
    waiting = [
        Waiting(rule, lacking[rule.where], compiled.get(rule.where))
        for rule in (*rules.rules, *rules.correlations)
        if rule.where in lacking
    ]
    referenced = {id(base) for one in correlations for base in _silent_bases(one)}
    done = list(compiler.compiled.values())
    return Pack(
        rules=tuple(rule for rule in done if id(rule) not in referenced),
        base_rules=tuple(rule for rule in done if id(rule) in referenced),
        correlations=tuple(one for one in correlations if one.rule.where not in lacking),
        waiting=tuple(waiting),
        filters=rules.filters,
        problems=(*rules.problems, *compiler.problems, *problems),
        engine=engine,
    )


def compile_rule(
    rule: Rule, rules: RuleSet, *, engine: Engine = "opensearch", variables: Variables | None = None
) -> CompiledRule:
    """Compile one rule of ``rules``.

    Raises:
        RuleError: it cannot be expressed; names file, line, engine and reason.
    """
    return _Compiler(rules, engine, load_variables() if variables is None else variables).compile(rule)


def _silent_bases(correlation: CompiledCorrelation) -> Iterable[CompiledRule]:
    for base in correlation.rules.values():
        if isinstance(base, CompiledCorrelation):
            yield from _silent_bases(base)
        elif not correlation.generate:
            yield base


@dataclass
class _Compiler:
    rules: RuleSet
    engine: Engine
    variables: Variables
    compiled: dict[str, CompiledRule] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        listed = {
            name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            for name, value in self.variables.items()
        }
        known = ProcessingItem(ValueListPlaceholderTransformation(include=list(listed)))
        pipeline = ProcessingPipeline(items=[known], vars=listed) if listed else None
        self.backend = SiemBackend(pipeline, engine=self.engine)
        self.backend.init_processing_pipeline("clause")
        self.filters: dict[tuple[str, LogSource], Clause | None] = {}

    def attempt(self, rule: Rule) -> None:
        if source_for(rule.logsource) is None:
            log = "/".join(filter(None, (rule.logsource.product, rule.logsource.category, rule.logsource.service)))
            message = f"no log type of this SIEM is {log or 'without a logsource'}"
            self.problems.append(Problem(rule.path, rule.line, "logsource", message, "notice"))
            return
        try:
            self.compiled[rule.where] = self.compile(rule)
        except RuleError as error:
            line = int((error.where or "").rpartition(":")[2] or rule.line)
            self.problems.append(Problem(rule.path, line, "compile", error.message, hint=error.hint))

    def compile(self, rule: Rule) -> CompiledRule:
        source = source_for(rule.logsource)
        if source is None:
            raise RuleError("no log type of this SIEM has the rule's logsource", where=rule.where)
        schema = schema_of(source)
        plain = self._clause(rule, rule.content)
        looked_at = list(self.backend.looked_at)
        used = [
            (one, clause)
            for one in self.rules.filters
            if applies(one, rule) and (clause := self._filter(one, rule)) is not None
        ]
        clause = both([plain, *(clause for _, clause in used)]) if used else plain
        fields = [path for name in (*rule.fields, *looked_at) if (path := stored_path(schema, name))]
        return CompiledRule(
            rule=rule,
            index=source.index,
            query=clause.upper,
            verify=_verify(clause),
            unfiltered=plain.upper if used else None,
            unfiltered_verify=_verify(plain) if used else None,
            filters=tuple(CompiledFilter(one, condition.exact) for one, condition in used),
            suppress_by=self._suppress_by(rule, schema),
            fields=tuple(dict.fromkeys(fields)),
        )

    def _suppress_by(self, rule: Rule, schema: Schema) -> tuple[str, ...]:
        paths = []
        for name in rule.suppression.by if rule.suppression else ():
            path = stored_path(schema, name)
            if path is None:
                line = self.rules.line(rule, "siem", "suppress", "by")
                raise RuleError(f"siem.suppress.by: there is no field {name}", where=f"{rule.path}:{line}")
            paths.append(path)
        return tuple(paths)

    def _filter(self, one: Filter, rule: Rule) -> Clause | None:
        """Compile a filter for the logs of ``rule``, which its own logsource may only narrow down to a product.

        ``None`` if that cannot be: a slip in an exception is told, and costs the exception, not the rules it is for.
        """
        key = (one.where, rule.logsource)
        if key not in self.filters:
            body = {name: part for name, part in one.content["filter"].items() if name != "rules"}
            content = {"logsource": rule.content["logsource"], "detection": body}
            try:
                self.filters[key] = self._clause(one, content, "filter")
            except RuleError as error:
                self.filters[key] = None
                line = int((error.where or "").rpartition(":")[2] or one.line)
                problem = Problem(one.path, line, "compile", f"the exception holds for nothing: {error.message}",
                                  hint=error.hint)  # fmt: skip
                if problem not in self.problems:
                    self.problems.append(problem)
        return self.filters[key]

    def _clause(self, rule: Rule, content: Mapping[str, Any], section: str = "detection") -> Clause:
        detection = content["detection"]
        try:
            detection = with_networks(detection, self.variables)
            parsed = SigmaRule.from_dict(
                {"title": rule.title, "logsource": content.get("logsource"), "detection": detection}
            )
            for name, one in parsed.detection.detections.items():
                locate(one, detection[name], self._lines(rule, section, name))
            correct_encodings(parsed)
            self.backend.partial = section == "filter"
            clauses = self.backend.convert_rule(parsed, "clause")
        except UnsupportedError as error:
            line = error.line or self.rules.line(rule, section)
            raise RuleError(f"{self.engine}: {error.reason}", where=f"{rule.path}:{line}", hint=error.hint) from None
        except (SigmaError, ValueError, TypeError, KeyError) as error:
            location = getattr(error, "source", None)
            line = (location.line if location else None) or self.rules.line(rule, section, *culprit(detection, error))
            text = str(error.args[0]) if error.args else type(error).__name__
            raise RuleError(text, where=f"{rule.path}:{line}", hint=advice(detection, error)) from None
        if not clauses:
            line = self.rules.line(rule, section, "condition")
            raise RuleError("the condition names no selection that exists", where=f"{rule.path}:{line}")
        return either(clauses)

    def _lines(self, rule: Rule, *above: str) -> Callable[[tuple[str | int, ...]], SigmaRuleLocation]:
        return lambda path: SigmaRuleLocation(rule.path, self.rules.line(rule, *above, *path))


def applies(one: Filter, rule: Rule) -> bool:
    """Say whether a filter is added to ``rule``: its logsource must cover the rule's, and it must name the rule."""
    mine, its = one.logsource, rule.logsource
    pairs = ((mine.product, its.product), (mine.category, its.category), (mine.service, its.service))
    if any(wanted is not None and wanted != found for wanted, found in pairs):
        return False
    named = {name for name in (rule.uuid, rule.sigma_name, rule.name) if name}
    return any(reference.lower() == "any" or reference in named for reference in one.rules)


def stored_path(schema: Schema, name: str) -> str | None:
    """Return the path in ``_source`` of a Sigma field, a document field or a payload's leaf."""
    return schema.stored_path(field_map(schema.source).get(name, (name,))[0])


def _verify(clause: Clause) -> Query | None:
    return None if clause.is_exact else clause.exact
