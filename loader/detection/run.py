"""One cycle of detection: examine what no rule has examined, write alerts, and only then remember how far it came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module

from opensearchpy import OpenSearch

from loader.clock import Clock
from loader.detection.alert_store import AlertStore
from loader.detection.alerts import event_alert
from loader.detection.coverage import CoverageConflictError, CoverageStore, ShardCoverage
from loader.detection.cursor import Positions, read_engine, read_positions, refresh
from loader.detection.lateness import is_historic
from loader.detection.matches import SHOWN_FIELDS, Match
from loader.detection.model import CompiledRule, Engine, digest
from loader.detection.plan import Slice, Start, Subject, admit, slices
from loader.detection.report import RuleCount, RunReport
from loader.detection.search import Question, Searcher

#: Called between any two steps with the name of the step that is done. Tests crash here.
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a cycle is run. ``chunk`` is how many sequence numbers are examined before progress is saved."""

    #: What a rule sees that is new in a ledger that knows other rules.
    start: Start = "now"
    chunk: int = 50_000
    #: Events that were loaded longer than this after they happened are old news: their alerts are historic.
    historic_after: timedelta = timedelta(days=2)


def rule_key(rule: CompiledRule) -> str:
    """Return the name a rule's coverage is kept under: a rule that asks or raises something else is another one."""
    return digest([rule.rule.uuid, rule.query_hash, rule.suppress_by, rule.rule.suppression])[:32]


def run_once(
    client: OpenSearch,
    rules: Sequence[CompiledRule],
    *,
    clock: Clock,
    options: RunOptions | None = None,
    step: Step = lambda _: None,
) -> RunReport:
    """Examine everything that is not yet examined.

    Alert ids are derived from what the alert is about, so running twice, after a crash or at the same time elsewhere,
    raises the same alerts and none twice.

    Raises:
        ClusterError: the cluster cannot be asked, or alerts cannot be written. Nothing is lost: what was not
            remembered as examined is examined by the next run.
    """
    return _Cycle(client, rules, clock=clock, options=options or RunOptions(), step=step).run()


class _Cycle:
    def __init__(
        self, client: OpenSearch, rules: Sequence[CompiledRule], *, clock: Clock, options: RunOptions, step: Step
    ) -> None:
        self._client = client
        self._clock = clock
        self._options = options
        self._step = step
        self._rules = {rule_key(rule): rule for rule in rules}
        self._subjects = [Subject(key, rule.rule.uuid, rule.index) for key, rule in self._rules.items()]
        self._counts = {
            key: RuleCount(rule.rule.uuid, rule.rule.name, rule.rule.title, rule.rule.level)
            for key, rule in self._rules.items()
        }
        self._report = RunReport(rules=list(self._counts.values()))
        self._ledger = CoverageStore(client)
        self._alerts = AlertStore(client, clock=clock)

    def run(self) -> RunReport:
        started = self._clock.monotonic()
        if self._rules:
            engine = read_engine(self._client)
            positions = read_positions(self._client, {rule.index for rule in self._rules.values()})
            self._step("positions read")
            self._examine(positions, engine)
        self._report.seconds = self._clock.monotonic() - started
        return self._report

    def _examine(self, positions: Positions, engine: Engine) -> None:
        self._report.unreadable = positions.unreadable
        coverages = self._ledger.load(positions.shards)
        self._admit(coverages.values())
        work = slices(coverages.values(), self._subjects, most=self._options.chunk)
        uncertain = refresh(self._client, {piece.shard.index for piece in work})
        self._step("refreshed")
        searcher = Searcher(self._client, engine=engine, clock=self._clock)
        for batch in _batches([piece for piece in work if piece.shard.index not in uncertain], self._options.chunk):
            try:
                self._examine_batch(batch, coverages, searcher)
            except CoverageConflictError:
                # Somebody else examines the same documents. Their alerts are ours; the next cycle reads where they are.
                self._report.notes.append("another scheduler is at work on the same documents")
                self._report.complete = False
                break
        self._report.complete = self._report.complete and not uncertain
        self._report.searches = searcher.searches

    def _admit(self, coverages: Iterable[ShardCoverage]) -> None:
        registry = self._ledger.load_registry()
        known = len(registry.rules)
        changed = admit(registry, coverages, self._subjects, self._options.start)
        self._ledger.save(changed, now=self._clock.now())
        self._step("new rules given their place")
        if len(registry.rules) != known:
            self._ledger.save_registry(registry, now=self._clock.now())
            self._step("new rules registered")

    def _examine_batch(self, batch: Sequence[Slice], coverages: dict[str, ShardCoverage], searcher: Searcher) -> None:
        questions = [(key, self._question(key, piece)) for piece in batch for key in piece.keys]
        searcher.ask([question for _, question in questions])
        self._step("alerts written")
        touched: dict[str, ShardCoverage] = {}
        answered: dict[Slice, int] = defaultdict(int)
        for key, question in questions:
            if question.failure is None:
                coverage = coverages[question.over.shard.id]
                coverage.rules[key] = coverage.extent(key).seen(question.over.span)
                touched[coverage.shard.id] = coverage
                answered[question.over] += 1
            else:
                self._counts[key].error = f"{question.over.shard.where}: {question.failure}"
                self._report.complete = False
        self._report.examined += sum(piece.last - piece.first + 1 for piece in answered)
        self._ledger.save(touched.values(), now=self._clock.now())
        self._step("coverage saved")

    def _question(self, key: str, piece: Slice) -> Question:
        rule, count = self._rules[key], self._counts[key]

        def sink(matches: Sequence[Match]) -> None:
            now = self._clock.now()
            count.matches += len(matches)
            alerts = [
                event_alert(
                    rule.rule,
                    match,
                    now=now,
                    historic=piece.historic or is_historic(match, self._options.historic_after),
                )
                for match in matches
            ]
            written = self._alerts.create(alerts)
            count.alerts_new += written.count("new")
            count.alerts_existing += written.count("existing")
            self._step("some alerts written")

        accept = None
        fields: tuple[str, ...] | None = (*SHOWN_FIELDS, *rule.suppress_by)
        if (verify := rule.verify) is not None:
            holds = import_module("loader.detection.evaluate").matches

            def accept(source: object) -> bool:
                return bool(holds(verify, source))

            fields = None
        return Question(rule.query, piece, sink, accept=accept, fields=fields)


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
