"""Read folders of Sigma YAML: rules, correlations and filters, every problem at once, each with its line.

Whatever sits in a folder is tried: files that are no rules are reported, rules marked ``status: unsupported`` and
rules for logs this SIEM does not have are set aside with a notice. Keys that are not known are Sigma's custom
attributes and kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import yaml

from loader.detection.model import (
    AnyRule,
    CorrelationRule,
    Filter,
    Level,
    LogSource,
    Problem,
    Rule,
    Suppression,
    digest,
)
from loader.detection.timespan import milliseconds
from loader.errors import RuleError

LEVELS: tuple[Level, ...] = ("informational", "low", "medium", "high", "critical")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_JOINED_BY = ("and", "or", "not")
#: Keys of ``correlation:`` that Sigma's specification defines.
_CORRELATION_KEYS = frozenset(("type", "rules", "group-by", "timespan", "condition", "aliases", "generate"))


@dataclass(frozen=True)
class RuleSet:
    """What was read. ``skipped`` are rules set aside; ``problems`` says why, and what else was wrong."""

    rules: tuple[Rule, ...] = ()
    correlations: tuple[CorrelationRule, ...] = ()
    filters: tuple[Filter, ...] = ()
    skipped: tuple[Rule, ...] = ()
    problems: tuple[Problem, ...] = ()
    #: Line of each key, by rule's ``where``: ``("detection", "selection", "eventName") -> 17``.
    lines: Mapping[str, Mapping[tuple[str | int, ...], int]] = field(default_factory=dict, repr=False)

    def line(self, rule: Rule, *path: str | int) -> int:
        """Return the line of a key of ``rule``, or of the nearest key above it that is known."""
        known = self.lines.get(rule.where, {})
        while path and path not in known:
            path = path[:-1]
        return known.get(path, rule.line)


class _MalformedError(ValueError):
    """What a key says cannot be meant; ``path`` leads to it."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Written:
    """One document of YAML: its file, its number in it (from 0), what it says, and the line of each key."""

    path: Path
    number: int
    content: Any
    lines: Mapping[tuple[str | int, ...], int]


def load_rules(paths: Iterable[Path | str]) -> RuleSet:
    """Read every ``*.yml`` and ``*.yaml`` under ``paths`` (files or folders). Never raises for what is in a file.

    Raises:
        RuleError: a path does not exist.
    """
    written: list[Written] = []
    problems: list[Problem] = []
    for path in _files(paths):
        try:
            written += read_documents(path, path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            problems.append(Problem(path, _line_of(error), "yaml", f"not readable as YAML: {_short(error)}"))
    return rule_set(written, problems)


def rule_set(written: Iterable[Written], problems: Iterable[Problem] = ()) -> RuleSet:
    """Return the rules in documents, wherever they were read; what is wrong with one is among the problems."""
    found: dict[str, AnyRule] = {}
    skipped: list[Rule] = []
    told = list(problems)
    lines: dict[str, Mapping[tuple[str | int, ...], int]] = {}
    for one in written:
        try:
            rule = _rule(one.path, one.content, one.lines, one.number)
        except RuleError as error:
            line = int((error.where or "1").rpartition(":")[2])
            told.append(Problem(one.path, line, "rule", error.message, hint=error.hint))
            continue
        lines[rule.where] = one.lines
        if rule.status == "unsupported":
            skipped.append(rule)
            told.append(Problem(one.path, rule.line, "skipped", f"status is {rule.status}", "notice"))
        elif (other := found.get(rule.uuid.lower())) is not None:
            # Alerts are told apart by the rule's id: of two with one id, one would lose its alerts to the other.
            skipped.append(rule)
            told.append(_twice(rule, other, one.lines))
        else:
            found[rule.uuid.lower()] = rule
    return RuleSet(
        rules=tuple(rule for rule in found.values() if type(rule) is Rule),
        correlations=tuple(rule for rule in found.values() if isinstance(rule, CorrelationRule)),
        filters=tuple(rule for rule in found.values() if isinstance(rule, Filter)),
        skipped=tuple(skipped),
        problems=tuple(told),
        lines=lines,
    )


def _twice(rule: Rule, other: Rule, lines: Mapping[tuple[str | int, ...], int]) -> Problem:
    line = lines.get(("id",), rule.line)
    if rule.content.get("id"):
        return Problem(rule.path, line, "duplicate-id", f"the id {rule.uuid} is that of {other.where}, too",
                       hint="Give it one of its own, or leave one of the two out.")  # fmt: skip
    return Problem(rule.path, line, "duplicate-id", f"it has no id, and its file is called like {other.where}",
                   hint="Give it an id.")  # fmt: skip


def timespan(value: object) -> int:
    """Return the seconds of Sigma's ``15s``, ``10m``, ``2h``, ``7d``, ``1w``, ``1M``, ``1y``.

    Raises:
        ValueError: it is none of these.
    """
    try:
        seconds = milliseconds(str(value)) // 1000
    except RuleError:
        seconds = 0
    if not seconds:
        raise ValueError(f"{value!r} is not a time span such as 15s, 10m, 2h or 7d")
    return seconds


def _files(paths: Iterable[Path | str]) -> Iterable[Path]:
    """Return the files, each once, however many of ``paths`` it lies under."""
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(child for child in path.rglob("*") if child.suffix in (".yml", ".yaml"))
        elif path.is_file():
            files = [path]
        else:
            raise RuleError("there is no such file or folder of rules", where=str(path))
        for file in files:
            found.setdefault(file.resolve(), file)
    return found.values()


def read_documents(path: Path, text: str) -> list[Written]:
    """Return the documents of a file's text with the line of every key in them.

    Raises:
        yaml.YAMLError: it is no YAML, or a key is there twice.
    """
    found = []
    loader = yaml.CSafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                break
            lines: dict[tuple[str | int, ...], int] = {(): _mark(node)}
            _index(node, (), lines)
            found.append((loader.construct_document(node), lines))
    finally:
        loader.dispose()
    kept = [(content, lines) for content, lines in found if content is not None]
    return [Written(path, number, content, lines) for number, (content, lines) in enumerate(kept)]


def _index(node: yaml.Node, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> None:
    here: tuple[str | int, ...]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, key.value if isinstance(key, yaml.ScalarNode) else "")
            if here in lines:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark)
            lines[here] = _mark(key)
            _index(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            here = (*path, number)
            lines[here] = _mark(value)
            _index(value, here, lines)


def _mark(node: yaml.Node) -> int:
    return node.start_mark.line + 1 if node.start_mark else 1


def _rule(path: Path, content: Any, lines: Mapping[tuple[str | int, ...], int], number: int) -> AnyRule:
    line = lines.get((), 1)
    if not isinstance(content, dict) or not content.get("title"):
        raise RuleError("not a Sigma rule: it has no title", where=f"{path}:{line}")
    try:
        rule = _common(path, content, line, number)
        if "correlation" in content:
            return _correlation(rule, content["correlation"])
        if "filter" in content:
            return _filter(rule, content["filter"])
    except (ValueError, TypeError, AttributeError) as error:
        here = error.path if isinstance(error, _MalformedError) else ()
        raise RuleError(str(error), where=f"{path}:{lines.get(here, line)}") from None
    if not isinstance(content.get("detection"), dict):
        raise RuleError("a rule needs a detection", where=f"{path}:{lines.get(('detection',), line)}")
    return rule


def _common(path: Path, content: Mapping[str, Any], line: int, number: int) -> Rule:
    ours = content.get("siem") or {}
    if not isinstance(ours, Mapping):
        raise _MalformedError("siem: must be a map", "siem")
    logsource = content.get("logsource") or {}
    if not isinstance(logsource, Mapping):
        raise _MalformedError("logsource: must be a map", "logsource")
    level = str(content.get("level") or "informational").lower()
    if level not in LEVELS:
        raise _MalformedError(f"level {level!r} is none of {', '.join(LEVELS)}", "level")
    sigma_name = content.get("name")
    name = path.stem + (f"#{sigma_name or number}" if number else "")
    return Rule(
        # Public rules may have no id. Theirs comes from the name, so that it stays when the rule is changed.
        uuid=str(content.get("id") or uuid5(NAMESPACE_URL, f"sigma:{name}")),
        name=name,
        title=str(content["title"]),
        level=level,
        status=str(content.get("status") or ""),
        path=path,
        line=line,
        content_hash=digest(content),
        description=_prose(content.get("description")),
        author=str(content.get("author") or ""),
        license=str(content.get("license") or ""),
        references=_texts(content.get("references")),
        tags=_texts(content.get("tags")),
        falsepositives=_texts(content.get("falsepositives")),
        fields=_texts(content.get("fields")),
        logsource=LogSource(*(logsource.get(key) for key in ("product", "category", "service"))),
        sigma_name=str(sigma_name) if sigma_name else None,
        suppression=_suppression(ours.get("suppress")),
        runbook=_prose(ours.get("runbook")),
        blind_spots=_texts(ours.get("blind_spots")),
        content=content,
    )


def _suppression(value: Any) -> Suppression | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or "for" not in value:
        raise _MalformedError("siem.suppress must be a map with by: and for:", "siem", "suppress")
    try:
        return Suppression(_texts(value.get("by")), timespan(value["for"]))
    except ValueError as error:
        raise _MalformedError(str(error), "siem", "suppress", "for") from None


def _filter(rule: Rule, body: Any) -> Filter:
    if not isinstance(body, Mapping) or "condition" not in body:
        raise _MalformedError("filter: must be a map with rules:, selections and a condition:", "filter")
    if "rules" not in body:
        raise _MalformedError("filter.rules is missing: name the rules by id or name, or write any", "filter")
    ours = rule.content.get("siem") or {}
    owner, ticket, expires = (str(ours.get(key) or "") for key in ("owner", "ticket", "expires"))
    return Filter(
        **_fields_of(rule), rules=_texts(body["rules"]) or ("any",), owner=owner, ticket=ticket, expires=expires
    )


def _correlation(rule: Rule, body: Any) -> CorrelationRule:
    if not isinstance(body, Mapping) or not body.get("type"):
        raise _MalformedError("correlation: must be a map with a type:", "correlation")
    condition, rules = body.get("condition"), _texts(body.get("rules"))
    if isinstance(condition, str):
        # Specification 2.1: a condition that names rules makes the list of them unnecessary.
        rules = rules or tuple(dict.fromkeys(name for name in _NAME.findall(condition) if name not in _JOINED_BY))
        condition = {"expression": condition}
    return CorrelationRule(
        **_fields_of(rule),
        type=str(body["type"]),
        rules=rules,
        group_by=_texts(body.get("group-by")),
        seconds=_seconds(body),
        condition=dict(condition or {}),
        aliases={str(name): dict(by_rule) for name, by_rule in (body.get("aliases") or {}).items()},
        generate=bool(body.get("generate", False)),
        extra={key: value for key, value in body.items() if key not in _CORRELATION_KEYS},
    )


def _seconds(correlation: Mapping[str, Any]) -> int:
    try:
        return timespan(correlation["timespan"]) if "timespan" in correlation else 0
    except ValueError as error:
        raise _MalformedError(str(error), "correlation", "timespan") from None


def _fields_of(rule: Rule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in Rule.__dataclass_fields__}


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(str(item) for item in value)
    return (str(value),)


def _prose(value: Any) -> str:
    return str(value or "").strip()


def _line_of(error: Exception) -> int:
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark is not None else 1


def _short(error: Exception) -> str:
    problem = str(getattr(error, "problem", None) or error)
    # What libyaml says of the tab that an editor put there.
    is_tab = "cannot start any token" in problem
    return f"{problem} (a tab? YAML is indented by spaces only)" if is_tab else problem
