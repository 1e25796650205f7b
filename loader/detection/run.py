"""One cycle of detection: examine what no rule has examined, write alerts, and only then remember how far it came."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from opensearchpy import OpenSearch

from loader.clock import Clock
from loader.detection.alert_store import AlertStore
from loader.detection.alerts import Announce
from loader.detection.coverage import CoverageConflictError, CoverageStore, ShardCoverage
from loader.detection.cursor import Positions, ShardStatisticsHiddenError, read_positions, refresh
from loader.detection.event_alerts import EventAlerts
from loader.detection.event_reader import EventReader
from loader.detection.first_seen_alerts import FirstSeenAlerts, keeps_baseline
from loader.detection.folded_alerts import FoldedAlerts
from loader.detection.matches import Match
from loader.detection.minutes import minute_positions, recount
from loader.detection.model import CompiledCorrelation, CompiledRule, digest, raising
from loader.detection.plan import Slice, Start, admit, slices
from loader.detection.report import RunReport
from loader.detection.rule_handler import RuleHandler
from loader.detection.search import Question, Searcher, Sink
from loader.detection.spike_alerts import SpikeAlerts, counts_baseline
from loader.detection.system_alerts import write_system_alerts
from loader.detection.watermark import Watermark
from loader.discover import Link
from loader.errors import ClusterError, RuleError
from loader.index.engine import read_engine

log = logging.getLogger(__name__)

#: Called between any two steps with the name of the step that is done. Tests crash here.
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a cycle is run."""

    #: What a rule sees that is new in a ledger that knows other rules.
    start: Start = "now"
    #: How many sequence numbers are examined before progress is saved, for rules about single events and for others.
    chunk: int = 50_000
    deferred_chunk: int = 1_000_000
    #: How many correlations are worked out at a time.
    workers: int = 1
    #: Events that were loaded longer than this after they happened are old news: their alerts are historic.
    historic_after: timedelta = timedelta(days=2)
    #: How long rules that are not monotone wait for late events.
    lateness: timedelta = timedelta(minutes=20)
    #: Compare first appearances with a stored baseline (docs/adr/0005).
    stored_baselines: bool = True
    #: Makes the links to the events that alerts carry.
    link: Link | None = None
    #: Notes who has to be told of alerts, before progress is saved.
    announce: Announce | None = None
    #: Asked before each batch: the rest is left to the next cycle.
    stop: Callable[[], bool] = lambda: False


def run_once(
    client: OpenSearch,
    rules: Sequence[CompiledRule | CompiledCorrelation],
    *,
    clock: Clock,
    options: RunOptions | None = None,
    step: Step = lambda _: None,
) -> RunReport:
    """Examine everything that is not yet examined.

    Alert ids are derived from what the alert is about, so running twice, after a crash or at the same time elsewhere,
    raises the same alerts and none twice. A correlation that another one consumes raises none of its own, unless that
    one says ``generate: true``.

    Raises:
        ClusterError: the cluster cannot be asked, or alerts cannot be written. Nothing is lost: what was not
            remembered as examined is examined by the next run.
    """
    return _Cycle(client, rules, clock=clock, options=options or RunOptions(), step=step).run()


class _Cycle:
    def __init__(
        self,
        client: OpenSearch,
        rules: Sequence[CompiledRule | CompiledCorrelation],
        *,
        clock: Clock,
        options: RunOptions,
        step: Step,
    ) -> None:
        self._client = client
        self._rules = raising(rules)
        self._clock = clock
        self._options = options
        self._step = step
        self._report = RunReport()
        self._ledger = CoverageStore(client)
        self._handlers: dict[str, RuleHandler] = {}
        #: Slices that deferred rules have seen and not yet settled.
        self._pending: dict[str, list[Slice]] = {}
        self._began = clock.now()

    def run(self) -> RunReport:
        started = self._clock.monotonic()
        # Before anything is looked at: see loader.detection.watermark.
        self._began = self._clock.now()
        if self._rules:
            patterns = {name for rule in self._rules for name in _indices(rule)}
            self._report.patterns = tuple(sorted(patterns))
            try:
                positions, hidden = read_positions(self._client, patterns), False
            except ShardStatisticsHiddenError:
                positions, hidden = minute_positions(self._client, patterns, self._clock.now()), True
            self._step("positions read")
            self._examine(positions, hidden=hidden)
            note = write_system_alerts(
                self._client, self._report.errors, clock=self._clock, announce=self._options.announce
            )
            self._report.notes += [note] if note else []
        self._report.seconds = self._clock.monotonic() - started
        return self._report

    def _examine(self, positions: Positions, *, hidden: bool) -> None:
        self._report.unreadable = positions.unreadable
        searcher = Searcher(self._client, engine=read_engine(self._client), clock=self._clock, hidden=hidden)
        self._handlers = self._make_handlers(positions, searcher)
        self._report.rules = [handler.count for handler in self._handlers.values()]
        coverages = self._ledger.load(positions.shards)
        if hidden:
            recount(self._client, coverages.values())
        try:
            self._admit(coverages.values())
            self._work(coverages, searcher)
        except CoverageConflictError:
            # Somebody else examines the same documents. Their alerts are ours; the next cycle reads where they are.
            self._report.notes.append("another scheduler is at work on the same documents")
            self._report.complete = False
        self._report.searches = searcher.searches

    def _make_handlers(self, positions: Positions, searcher: Searcher) -> dict[str, RuleHandler]:
        store = AlertStore(self._client, clock=self._clock, announce=self._options.announce)
        reader = EventReader(searcher, sorted({shard.index for shard in positions.shards}))
        watermark = Watermark(self._client, began=self._began, lateness=self._options.lateness, clock=self._clock)
        handlers: dict[str, RuleHandler] = {}
        late = self._options.historic_after
        for rule in self._rules:
            handler: RuleHandler
            try:
                if isinstance(rule, CompiledRule) and rule.rule.suppression is None:
                    handler = EventAlerts(
                        rule,
                        store=store,
                        clock=self._clock,
                        historic_after=late,
                        step=self._step,
                        link=self._options.link,
                    )
                else:
                    how: dict[str, Any] = {
                        "store": store,
                        "reader": reader,
                        "watermark": watermark,
                        "clock": self._clock,
                        "historic_after": late,
                        "step": self._step,
                        "link": self._options.link,
                    }
                    if not isinstance(rule, CompiledCorrelation):
                        handler = FoldedAlerts(rule, **how)
                    elif self._options.stored_baselines and keeps_baseline(rule):
                        handler = FirstSeenAlerts(rule, client=self._client, **how)
                    elif counts_baseline(rule):
                        handler = SpikeAlerts(rule, **how)
                    else:
                        handler = FoldedAlerts(rule, **how)
            except RuleError as error:
                self._report.refused[rule.rule.name] = str(error)
                self._report.complete = False
                continue
            handlers[handler.subject.key] = handler
        return handlers

    def _admit(self, coverages: Iterable[ShardCoverage]) -> None:
        registry = self._ledger.load_registry()
        known = len(registry.rules)
        subjects = [handler.subject for handler in self._handlers.values()]
        coverages = list(coverages)
        changed = admit(registry, coverages, subjects, self._options.start)
        for key, handler in self._handlers.items():
            extents = [coverage.extent(key) for coverage in coverages]
            handler.begin(fresh=not any(extent.examined or extent.waived for extent in extents))
        self._ledger.save(changed, now=self._clock.now())
        self._step("new rules given their place")
        if len(registry.rules) != known:
            self._ledger.save_registry(registry, now=self._clock.now())
            self._step("new rules registered")

    def _work(self, coverages: dict[str, ShardCoverage], searcher: Searcher) -> None:
        subjects = [handler.subject for handler in self._handlers.values()]
        work = slices(coverages.values(), subjects, most=self._options.chunk)
        # Where minutes are examined nothing has to be visible at once: what is not makes its minute grow later.
        uncertain = refresh(self._client, {piece.shard.index for piece in work if not piece.shard.minutes})
        self._report.complete = self._report.complete and not uncertain
        self._step("refreshed")
        since_settled = 0
        for batch in _batches([piece for piece in work if piece.shard.index not in uncertain], self._options.chunk):
            if self._options.stop():
                self._report.complete = False
                self._report.notes.append("time was up: the next cycle goes on")
                break
            self._examine_batch(batch, coverages, searcher)
            since_settled += _length(batch)
            if since_settled >= self._options.deferred_chunk:
                self._settle(coverages, is_last=False)
                since_settled = 0
        self._settle(coverages, is_last=True)

    def _examine_batch(self, batch: Sequence[Slice], coverages: dict[str, ShardCoverage], searcher: Searcher) -> None:
        asked = _Asked()
        for piece in batch:
            for key in piece.keys:
                asked.add(key, self._handlers[key].questions(piece))
        searcher.ask(asked.questions)
        self._step("batch examined")
        touched: dict[str, ShardCoverage] = {}
        answered: set[Slice] = set()
        for piece in batch:
            for key in piece.keys:
                if failure := asked.failure(key, piece):
                    self._fail(key, f"{piece.shard.where}: {failure}")
                    continue
                answered.add(piece)
                if self._handlers[key].deferred:
                    self._pending.setdefault(key, []).append(piece)
                else:
                    _seen(coverages, key, piece, touched)
        self._report.examined += _length(answered)
        self._ledger.save(touched.values(), now=self._clock.now())
        self._step("coverage saved")

    def _settle(self, coverages: dict[str, ShardCoverage], *, is_last: bool) -> None:
        """Let deferred rules write their alerts, and remember what they have seen.

        Those that judge by what has been examined wait until all of it is: what comes next may be of days before.
        """
        due = [handler for handler in self._handlers.values() if handler.deferred and (is_last or not handler.last)]
        # They wait for the cluster most of the time, each for itself, and have nothing in common.
        with ThreadPoolExecutor(self._options.workers, thread_name_prefix="correlation") as pool:
            failures = list((pool.map if self._options.workers > 1 else map)(_settled, due))
        touched: dict[str, ShardCoverage] = {}
        for handler, failure in zip(due, failures, strict=True):
            key = handler.subject.key
            pieces = self._pending.pop(key, [])
            if failure:
                self._fail(key, failure)
                continue
            for piece in pieces:
                _seen(coverages, key, piece, touched)
        self._step("correlations settled")
        self._ledger.save(touched.values(), now=self._clock.now())
        self._step("coverage saved")

    def _fail(self, key: str, reason: str) -> None:
        self._handlers[key].count.error = reason
        self._report.complete = False


class _Asked:
    """The questions of a batch: what several rules ask of one slice is asked once."""

    def __init__(self) -> None:
        self._questions: dict[tuple[Slice, str], Question] = {}
        self._of: dict[tuple[str, Slice], list[Question]] = {}
        self._failed: dict[tuple[str, Slice], str] = {}

    @property
    def questions(self) -> list[Question]:
        return list(self._questions.values())

    def add(self, key: str, questions: Sequence[Question]) -> None:
        for question in questions:
            question.sinks[:] = [self._guarded(key, question.over, sink) for sink in question.sinks]
            # A condition beside the query is that rule's own: only questions without one are shared.
            # Nor are those that are answered in buckets: these are of the rule's own fields.
            own = id(question) if question.accept else [question.bins, question.fields] if question.bins else None
            name = (question.over, digest([question.query, own]))
            first = self._questions.setdefault(name, question)
            if first is not question:
                first.sinks += question.sinks
                if first.fields is not None and not first.bins:
                    first.fields = None if question.fields is None else (*first.fields, *question.fields)
            if not question.optional:
                self._of.setdefault((key, question.over), []).append(first)

    def failure(self, key: str, piece: Slice) -> str | None:
        """Return why rule ``key`` has not examined ``piece``."""
        failures = [question.failure for question in self._of.get((key, piece), ()) if question.failure]
        return self._failed.get((key, piece)) or (failures[0] if failures else None)

    def _guarded(self, key: str, piece: Slice, sink: Sink) -> Sink:
        def guarded(matches: Sequence[Match]) -> None:
            try:
                sink(matches)
            except ClusterError:
                raise
            except Exception as error:
                log.exception("a rule failed", extra={"key": key})
                self._failed[(key, piece)] = str(error) or type(error).__name__

        return guarded


def _settled(handler: RuleHandler) -> str | None:
    """Settle one rule. Return why it failed: a fault of one rule, even one of ours, stops no other."""
    try:
        handler.settle()
    except ClusterError:
        raise
    except Exception as error:
        log.exception("a rule failed", extra={"rule": handler.count.id})
        return str(error) if isinstance(error, RuleError) else f"{type(error).__name__}: {error}"
    return None


def _indices(rule: CompiledRule | CompiledCorrelation) -> set[str]:
    if isinstance(rule, CompiledRule):
        return {rule.index}
    return {name for child in rule.rules.values() for name in _indices(child)}


def _seen(coverages: dict[str, ShardCoverage], key: str, piece: Slice, touched: dict[str, ShardCoverage]) -> None:
    coverage = coverages[piece.shard.id]
    coverage.rules[key] = coverage.extent(key).seen(piece.span)
    touched[piece.shard.id] = coverage


def _length(pieces: Iterable[Slice]) -> int:
    """Return how many sequence numbers ``pieces`` hold, each once."""
    return sum(last - first + 1 for first, last in {(p.shard.id, p.span): p.span for p in pieces}.values())


def _batches(work: Sequence[Slice], most: int) -> Iterable[list[Slice]]:
    """Put small slices together, up to ``most`` numbers: many shards with little news are one round trip."""
    batch: list[Slice] = []
    held = 0
    for piece in work:
        length = piece.last - piece.first + 1
        if batch and held + length > most:
            yield batch
            batch, held = [], 0
        batch.append(piece)
        held += length
    if batch:
        yield batch
