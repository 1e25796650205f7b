"""Correlations, and rules with suppression: a cycle notes which groups and times new events touch, then works them out.

Nothing is counted up. For each touched bucket the events are read again and the alert is made from them as if for the
first time, so order, lateness, repetition and crashes leave no trace. Alerts are written with compare-and-set against
what was read *before* the events: whoever wrote in between makes us read again, so an older view never wins.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from loader.clock import Clock
from loader.detection.alert_store import CONFLICT, AlertStore, Stored
from loader.detection.alerts import Alert, linked
from loader.detection.buckets import WITHDRAWN, Bucket, Content, compose, content, revise, withdraw
from loader.detection.correlation import DAY_MS, Group, Node, Tree, Trigger
from loader.detection.coverage import compare_and_set
from loader.detection.cursor import belongs
from loader.detection.event_alerts import filtered_questions, rule_key
from loader.detection.event_reader import EventReader, countable
from loader.detection.intervals import Ranges, Spans, intersection, is_inside, union
from loader.detection.matches import SHOWN_PATHS, Match
from loader.detection.model import CompiledRule, Query, digest
from loader.detection.narrowing import narrowed, slabs
from loader.detection.plan import Slice, Subject
from loader.detection.plausible import hull, plausible, uncountable
from loader.detection.report import RuleCount
from loader.detection.rule_handler import acceptor
from loader.detection.search import Question, Sink
from loader.detection.watermark import Watermark
from loader.discover import Link
from loader.errors import ClusterError

_CONFLICTS = 8
_BEGINNING, _END = -(2**62), 2**62


def node_key(node: Node) -> str:
    """Return the name a rule's or correlation's coverage is kept under."""
    if isinstance(node, CompiledRule):
        return rule_key(node)
    return digest(_asked(node))[:32]


def _asked(node: Node) -> object:
    if isinstance(node, CompiledRule):
        return node.query_hash
    return [
        [node.rule.uuid, node.type, node.seconds, node.group_by, node.suppress_by, node.rule.suppression],
        [[name, _asked(child)] for name, child in node.rules.items()],
        [dict(node.condition.bounds), node.condition.fields, node.condition.percentile, node.condition.expression],
        [{alias: dict(fields) for alias, fields in node.aliases.items()}, dict(node.extra)],
    ]


class FoldedAlerts:
    """One correlation, or one rule with suppression, during a cycle."""

    deferred = True
    last = False

    def __init__(
        self,
        node: Node,
        *,
        store: AlertStore,
        reader: EventReader,
        watermark: Watermark,
        clock: Clock,
        historic_after: timedelta,
        step: Callable[[str], None],
        link: Link | None = None,
    ) -> None:
        self._link = link
        self._tree = Tree(node)
        self._store = store
        self._reader = reader
        self._watermark = watermark
        self._clock = clock
        self._historic_after = historic_after
        self._step = step
        self._touched: dict[Group | None, Spans] = {}
        #: How many events each base rule has had.
        self._broad: Counter[str] = Counter()
        #: Groups that something else than a replay of the past has touched.
        self._live: set[Group | None] = set()
        indices = ",".join(sorted({leaf.index for leaf in self._tree.leaves.values()}))
        self.subject = Subject(node_key(node), node.rule.uuid, indices)
        self.count = RuleCount(node.rule.uuid, node.rule.name, node.rule.title, node.rule.level)
        self._monotone = self._tree.monotone
        window = self._tree.windows.get(id(node))
        self._baseline, self._warm_up = (window.baseline, window.warm_up) if window else (0, 0)
        #: On how many days of the baseline before a day there are events at all.
        self._days: dict[tuple[int, int], int] = {}
        #: Paths that telling groups needs of each base rule's events, and those that writing alerts does.
        self._light = self._tree.paths_of
        self._full = tuple(dict.fromkeys((*self._tree.paths, *SHOWN_PATHS)))

    def begin(self, *, fresh: bool) -> None:
        """See :class:`RuleHandler`: the past is the index, whether it was examined or not."""

    def questions(self, piece: Slice) -> Sequence[Question]:
        """Ask every base rule's query."""
        asked = []
        for name, leaf in self._tree.leaves.items():
            if not belongs(piece.shard.index, leaf.index):
                continue
            sink = self._sink(name, historic=piece.historic)
            asked += self._told_apart(name, leaf, piece, sink) or [self._one_by_one(name, leaf.query, piece, sink)]
            asked += filtered_questions(leaf, piece, self.count)
        return asked

    def _told_apart(self, name: str, leaf: CompiledRule, piece: Slice, sink: Sink) -> list[Question]:
        """Return questions about which groups there are, and when; none if the server cannot tell that exactly."""
        paths = self._group_paths(name)
        if leaf.verify is not None or not countable(leaf, paths):
            return []
        # A value that is too long to be indexed is in no group: such documents are read.
        ignored = {"exists": {"field": "_ignored"}}
        whole = {"bool": {"filter": [leaf.query], "must_not": [ignored]}}
        rest = {"bool": {"filter": [ignored, leaf.query]}}
        return [
            Question(whole, piece, [sink], fields=paths, bins=self._bin_length()),
            self._one_by_one(name, rest, piece, sink),
        ]

    def _one_by_one(self, name: str, query: Query, piece: Slice, sink: Sink) -> Question:
        accept = acceptor(self._tree.leaves[name])
        return Question(query, piece, [sink], accept=accept, fields=None if accept else self._light[name])

    def _group_paths(self, leaf: str) -> tuple[str, ...]:
        """Return what of a base rule's events tells which groups they touch."""
        routes = (self._tree.routes or {}).get(leaf, [])
        return tuple(dict.fromkeys(path for route in routes for path in route.values()))

    def _bin_length(self) -> int:
        """Return how far events may be apart that are told of by the first and the last of them."""
        return min(self._tree.lookback or self._tree.bucket, self._tree.bucket)

    def _sink(self, leaf: str, *, historic: bool) -> Sink:
        def sink(matches: Sequence[Match]) -> None:
            number = sum(match.events for match in matches)
            self.count.matches += number
            self._broad[leaf] += number
            self._note(leaf, matches, historic=historic)

        return sink

    def _note(self, leaf: str, matches: Iterable[Match], *, historic: bool = False, reach: int | None = None) -> None:
        """Remember that triggers of the matches' groups, up to ``reach`` milliseconds later, may have changed."""
        later = self._tree.lookback if reach is None else reach
        for match in matches:
            groups: list[Group] | list[None] = [None]
            if self._tree.routes is not None:
                groups = self._tree.groups(leaf, match)
            if not groups:
                self.count.ungrouped += match.events
            for group in groups:
                self._touched.setdefault(group, Spans()).add(match.time, match.time + later)
                if not historic:
                    self._live.add(group)

    def settle(self) -> None:
        """Work out every touched bucket and write what it has to be.

        Raises:
            RuleError: events cannot be read, or not all of them.
            ClusterError: alerts cannot be written.
        """
        for attempt in range(_CONFLICTS):
            self._settle(_END if self._monotone else self._advance())
            if self._monotone or self._watermark.done(self.subject.key):
                break
            # Somebody who may have seen later events judged these groups while we did. An older view of ours may have
            # come after theirs, and nobody would look again.
            self._clock.sleep(0.05 * 2**attempt)
        else:
            raise ClusterError("somebody else keeps judging the same moments", where=self._tree.root.rule.where)
        self._forget()
        if not self._monotone:
            self._step("watermark saved")

    def _forget(self) -> None:
        self._touched, self._live = {}, set()

    def _settle(self, limit: int) -> None:
        touched = {
            group: cut
            for group, spans in self._touched.items()
            if (cut := intersection(spans.ranges(), ((_BEGINNING, limit),)))
        }
        for slab in slabs(self._tree, touched):
            hits = self._hits(plausible(self._tree, self._reader, slab, broad=self._broad), limit)
            if hits:
                self._rework(hits, limit)

    def _advance(self) -> int:
        """Note what time alone brings: events whose windows the watermark has passed since the last cycle."""
        since, until = self._watermark.read(self.subject.key)
        if since is not None and since < until:
            delay = self._tree.delay
            for name, leaf in self._tree.leaves.items():
                matches = self._reader.sketch(leaf, since + 1 - delay, until, self._light[name])
                self._note(name, matches, reach=delay)
        return until

    def _hits(self, slab: Mapping[Group | None, Ranges], limit: int) -> Mapping[Group | None, Ranges]:
        """Return the groups that can have changed.

        A late event can only add triggers to a monotone rule, so a group without a trigger where it was touched is as
        it was. For the others every bucket is worked out.
        """
        value_sum = any(window.type == "value_sum" for window in self._tree.windows.values())
        if not slab or not self._monotone or value_sum or not self._tree.windows:
            return slab
        odd = {group: spans for group, spans in slab.items() if group is not None and uncountable(group)}
        everywhere = slab.get(None, ())
        return odd | {group: slab.get(group, everywhere) for group in self._among(self._read(slab), slab, limit)}

    def _rework(self, hits: Mapping[Group | None, Ranges], limit: int) -> None:
        waiting = dict(hits)
        for attempt in range(_CONFLICTS):
            waiting = self._rework_once(waiting, limit)
            if not waiting:
                return
            self._clock.sleep(0.05 * 2**attempt)
        raise ClusterError("alerts keep changing while they are worked out", where=self._tree.root.rule.where)

    def _rework_once(self, hits: Mapping[Group | None, Ranges], limit: int) -> dict[Group | None, Ranges]:
        """Work groups out. Return those that somebody else has written to meanwhile."""
        size = self._tree.bucket
        if None in hits:
            hits = self._all_groups(hits[None], limit) | {
                group: spans for group, spans in hits.items() if group is not None
            }
        buckets = {
            group: [Bucket(self._tree.root.rule.uuid, group, number, size) for number in _numbers(spans, size)]
            for group, spans in hits.items()
            if group is not None
        }
        flat = [bucket for group in buckets.values() for bucket in group]
        if not flat:
            return {}
        stored = self._store.read([(bucket.index, bucket.id) for bucket in flat])
        self._step("alerts read")
        whole: dict[Group | None, Ranges] = {
            group: union((b.before.start, b.end - 1) for b in places) for group, places in buckets.items()
        }
        triggers = self._triggers(whole, limit, self._full)
        self._step("events read")
        planned: list[tuple[Bucket, Stored | None, dict[str, Any]]] = []
        standing: list[tuple[Group, Alert]] = []
        for group, places in buckets.items():
            for bucket in places:
                known = stored.get((bucket.index, bucket.id))
                body = self._body(content(bucket, triggers.get(group, ())), known, group)
                if body is not None:
                    standing.append((group, Alert(bucket.index, bucket.id, body)))
                if body is not None and (known is None or body != known.body):
                    planned.append((bucket, known, body))
                elif body is not None and "verdict" not in body["siem"]:
                    self.count.alerts_existing += 1
        lost = self._write(planned)
        # Those that are as they were, too: whoever wrote them may have died before anybody was told.
        self._store.announce([alert for group, alert in standing if group not in lost])
        return {group: hits[group] for group in lost}

    def _body(self, found: Content | None, stored: Stored | None, group: Group) -> dict[str, Any] | None:
        """Return what a bucket's alert has to be; ``None`` when there is and was nothing."""
        if found is None:
            return withdraw(stored.body) if stored else None
        alert = compose(
            self._tree,
            found,
            now=self._clock.now(),
            historic=not (self._live & {group, None}),
            historic_after=self._historic_after,
        )
        alert = linked(alert, self._link)
        return revise(stored.body, alert.body) if stored else alert.body

    def _write(self, planned: Sequence[tuple[Bucket, Stored | None, dict[str, Any]]]) -> set[Group]:
        """Write alerts. Return the groups of those that somebody else has written meanwhile."""
        statuses = self._store.write(
            [
                (compare_and_set(bucket.index, bucket.id, stored.version if stored else None), body)
                for bucket, stored, body in planned
            ]
        )
        lost: set[Group] = set()
        for (bucket, stored, body), status in zip(planned, statuses, strict=True):
            if status == CONFLICT:
                lost.add(bucket.group)
                continue
            self.count.folded += max(0, _folded(body) - (_folded(stored.body) if stored else 0))
            if stored is None:
                self.count.alerts_new += 1
            elif body["siem"].get("verdict") == WITHDRAWN:
                self.count.alerts_withdrawn += 1
            else:
                self.count.alerts_revised += 1
        if planned:
            self._step("some alerts written")
        return lost

    def _all_groups(self, spans: Ranges, limit: int) -> dict[Group | None, Ranges]:
        """Return every group there is around ``spans``: of rules whose groups cannot be told from one match."""
        size = self._tree.bucket
        first, last = hull([spans])
        wide = ((first // size - 1) * size, (last // size + 2) * size - 1)
        known = dict.fromkeys(self._triggers({None: (wide,)}, limit, self._tree.paths), spans)
        for group in self._store.groups(self._tree.root.rule.uuid, first - size, last + size):
            known.setdefault(group, spans)
        return known

    def _triggers(
        self, wanted: Mapping[Group | None, Ranges], limit: int, paths: Sequence[str]
    ) -> dict[Group | None, list[Trigger]]:
        """Return the triggers in the ranges of ``wanted`` and up to ``limit``, by the alert's group.

        ``None`` stands for every group.
        """
        return self._among(self._read(wanted, paths), wanted, limit)

    def _read(
        self, wanted: Mapping[Group | None, Ranges], paths: Sequence[str] | None = None
    ) -> dict[str, list[Match]]:
        """Return the events, by base rule, that triggers in the ranges of ``wanted`` depend on, and others.

        Without ``paths`` it is enough to tell where there may be triggers.
        """
        first, last = hull(wanted.values())
        lookback = self._tree.lookback
        found: dict[str, list[Match]] = {}
        for name, leaf in self._tree.leaves.items():
            also = narrowed(self._tree, name, wanted, lookback)
            # What an absence waits for is after the trigger's own event, but never after the trigger.
            if paths is None:
                found[name] = self._reader.sketch(leaf, first - lookback, last, self._light[name], also=also)
            else:
                found[name] = self._reader.read(leaf, first - lookback, last, paths, also=also, accept=acceptor(leaf))
        return found

    def _among(
        self, found: Mapping[str, Sequence[Match]], wanted: Mapping[Group | None, Ranges], limit: int
    ) -> dict[Group | None, list[Trigger]]:
        by_group: dict[Group | None, list[Trigger]] = defaultdict(list)
        everywhere = wanted.get(None, ())
        for trigger in self._tree.triggers(found):
            if trigger.time > limit:
                continue
            folded = self._tree.fold(trigger)
            groups = [group for group in folded if is_inside(trigger.time, wanted.get(group, everywhere))]
            if not groups:
                continue
            if not self._ripe(trigger.time):
                self.count.learning += 1
                continue
            if self._warm_up and trigger.firing:
                trigger.firing = replace(trigger.firing, known_days=self._known_days(trigger.time))
            for group in groups:
                by_group[group].append(trigger)
        return by_group

    def _ripe(self, time: int) -> bool:
        """Return whether enough of the baseline before ``time`` is known to judge by it."""
        return not self._warm_up or self._known_days(time) * DAY_MS >= self._warm_up

    def _known_days(self, time: int) -> int:
        days = (time - self._baseline) // DAY_MS, time // DAY_MS
        if days not in self._days:
            self._days[days] = self._reader.days_known(self.subject.index, time - self._baseline, time)
        return self._days[days]


def _folded(body: Mapping[str, Any]) -> int:
    return int(body["siem"].get("suppressed", 0))


def _numbers(spans: Ranges, size: int) -> list[int]:
    """Return the buckets that triggers in ``spans`` fall into, and those after, which may continue them."""
    return sorted({number for first, last in spans for number in range(first // size, last // size + 2)})
