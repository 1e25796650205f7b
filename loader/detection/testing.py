"""Rules on raw records without a server: a pack's own tests, and which rules fire on given log files.

Records go through the real normaliser, and the evaluator decides what the server would. Correlations are decided by
whoever runs them: a function is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from loader.detection import evaluate
from loader.detection.cases import Cases, read_cases
from loader.detection.compile import Pack, compile_rule
from loader.detection.event import Event
from loader.detection.fields import schema_of
from loader.detection.load import RuleSet
from loader.detection.model import CompiledCorrelation, CompiledRule, CorrelationRule, Filter, Rule
from loader.detection.places import Place, static_places
from loader.detection.sources import AWS_CLOUDTRAIL, Source
from loader.errors import RecordError, RuleError
from loader.logtypes.model import ObjectContext
from loader.logtypes.registry import LOG_TYPES
from loader.source.fetch import LOCAL_BUCKET, file_fetch
from loader.source.objects import Broken, Limits, ObjectRef
from loader.source.split import read_pieces

#: Says whether a correlation fires on a history of documents.
Correlate = Callable[[CompiledCorrelation, Sequence[Event]], bool]
#: Says whether a rule fires on a history of documents, and which exception kept it from it.
Fires = Callable[[Sequence[Event]], tuple[bool, str | None]]

#: Test records were not read from anywhere, at no particular time.
_NOWHERE = ObjectContext(LOCAL_BUCKET, "test", "1970-01-01T00:00:00.000Z")


@dataclass(frozen=True, slots=True)
class RuleTest:
    """What became of one rule's tests. ``failures`` says for each that failed what was wrong."""

    rule: Rule
    matches: int
    near_misses: int
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Say whether all went well."""
        return not self.failures


@dataclass(frozen=True, slots=True)
class Match:
    """One record on which a rule fires. ``where`` is ``path#number``."""

    rule: Rule
    where: str
    timestamp: str
    id: str
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that could not be looked at."""

    where: str
    message: str


def run_tests(pack: Pack, correlate: Correlate | None = None) -> list[RuleTest]:
    """Run the tests of every rule of ``pack``; without ``correlate`` those of correlations are left out."""
    results = [_run(rule.rule, partial(_rule_decides, rule.rule, rule, pack.filters)) for rule in _all_rules(pack)]
    lacking = [one.rule for one in pack.waiting if not isinstance(one.rule, CorrelationRule)]
    results += [_run(rule, partial(_rule_decides, rule, None, pack.filters)) for rule in lacking]
    if correlate is not None:
        tried = [*pack.correlations, *(one.compiled for one in pack.waiting if one.compiled)]
        results += [_run(one.rule, partial(_chain_decides, correlate, one)) for one in tried]
    return sorted(results, key=lambda result: result.rule.where)


@dataclass(frozen=True, slots=True)
class Located:
    """One record as the document it becomes, and where it was read."""

    where: str
    id: str
    event: Event


def read_files(paths: Iterable[Path], source: Source = AWS_CLOUDTRAIL) -> Iterator[Located | Unreadable]:
    """Yield the documents of the raw log files at ``paths`` (JSON, gzipped or not), record by record.

    Raises:
        SourceError: a file cannot be read at all.
    """
    for path in paths:
        context = ObjectContext(LOCAL_BUCKET, str(path), _NOWHERE.ingested)
        for piece in read_pieces(file_fetch(ObjectRef(LOCAL_BUCKET, str(path))), Limits()):
            where = f"{path}#{piece.number}"
            if isinstance(piece, Broken):
                yield Unreadable(where, f"{piece.kind}: {piece.message}")
                continue
            try:
                yield Located(where, *read_event(piece.raw, context, source))
            except RecordError as error:
                yield Unreadable(where, f"{error.kind}: {error.message}")


def matches_of(found: Located, pack: Pack, source: Source = AWS_CLOUDTRAIL) -> Iterator[Match]:
    """Yield the alerting rules that fire on one document; correlations need more than one."""
    for rule in pack.rules:
        if rule.index == source.index and evaluate.fires(rule, found.event):
            time = str(found.event.source.get("@timestamp", ""))
            yield Match(rule.rule, found.where, time, found.id, found.event.source)


def read_event(raw: bytes, context: ObjectContext = _NOWHERE, source: Source = AWS_CLOUDTRAIL) -> tuple[str, Event]:
    """Normalise one raw record. Returns its document's id and the document.

    Raises:
        RecordError: it can never become a document.
    """
    rendered = next(kind for kind in LOG_TYPES if kind.name == source.name).normalise(raw, context, False)
    return rendered.id, Event(orjson.loads(rendered.body), schema_of(source))


def _all_rules(pack: Pack) -> tuple[CompiledRule, ...]:
    return (*pack.rules, *pack.base_rules)


def _run(rule: Rule, decides: Callable[[Cases], Fires]) -> RuleTest:
    try:
        cases = read_cases(rule)
        fires = decides(cases)
    except RuleError as error:
        return RuleTest(rule, 0, 0, (error.message,))
    failures = [*_failures(cases, "match", True, fires), *_failures(cases, "near_miss", False, fires)]
    return RuleTest(rule, len(cases.match), len(cases.near_miss), tuple(failures))


def _rule_decides(rule: Rule, compiled: CompiledRule | None, filters: tuple[Filter, ...], cases: Cases) -> Fires:
    """Return what decides a rule's tests. Not compiled for want of a list, it needs that of its tests."""
    if cases.variables is not None:
        compiled = compile_rule(rule, RuleSet((rule,), filters=filters), variables=cases.variables)
    if compiled is None:
        raise RuleError(f"{cases.path.name} needs variables: a list for each placeholder of the rule")
    return partial(_rule_fires, compiled)


def _chain_decides(correlate: Correlate, node: CompiledCorrelation, cases: Cases) -> Fires:
    if cases.places is not None:
        node = _placed(node, cases.places)
    elif node.type == "impossible_travel":
        raise RuleError(f"{cases.path.name} needs places: where the addresses of its records are")
    return partial(_chain_fires, correlate, node)


def _placed(node: CompiledCorrelation, known: Mapping[str, Place]) -> CompiledCorrelation:
    """Return ``node`` with the tests' own places wherever it needs places."""
    rules = {
        name: _placed(child, known) if isinstance(child, CompiledCorrelation) else child
        for name, child in node.rules.items()
    }
    return replace(node, rules=rules, places=static_places(known) if node.type == "impossible_travel" else None)


def _failures(cases: Cases, kind: str, wanted: bool, fires: Fires) -> Iterator[str]:
    for number, history in enumerate(cases.match if wanted else cases.near_miss):
        try:
            fired, reason = fires([read_event(raw)[1] for raw in history])
        except RecordError as error:
            yield f"{kind}[{number}] is no record: {error.message}"
            continue
        if fired != wanted:
            yield f"{kind}[{number}] {'does not match' if wanted else 'matches'}{f': {reason}' if reason else ''}"


def _chain_fires(
    correlate: Correlate, correlation: CompiledCorrelation, history: Sequence[Event]
) -> tuple[bool, str | None]:
    return correlate(correlation, history), None


def _rule_fires(rule: CompiledRule, history: Sequence[Event]) -> tuple[bool, str | None]:
    """Say whether ``rule`` fires on every event of ``history``, and which filters keep it from firing."""
    fired = all(evaluate.fires(rule, event) for event in history)
    if fired or rule.unfiltered is None:
        return fired, None
    silencing = [
        one.filter.title for one in rule.filters if any(not evaluate.matches(one.query, event) for event in history)
    ]
    return fired, f"silenced by the filter {', '.join(silencing)}" if silencing else None
