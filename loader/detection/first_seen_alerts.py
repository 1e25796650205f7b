"""Rules that look for something new (``new_terms``): as other folded alerts, but the past is a stored baseline.

Reading four weeks of events again for each new one would cost more the longer the SIEM runs. Instead what was seen is
kept (:mod:`loader.detection.baselines`), and events are read only where something was new. The order makes crashes
harmless: alerts are brought in line with the baseline as it will be, then the baseline is saved with compare-and-set,
then what was examined. If somebody else has saved it meanwhile, what differs from what we began with is judged again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from opensearchpy import OpenSearch

from loader.detection.baselines import Baseline, BaselineStore
from loader.detection.correlation import Group, Node, Run, Tree, Trigger, counted
from loader.detection.first_seen import News, Seen, bin_length, term_key
from loader.detection.folded_alerts import FoldedAlerts
from loader.detection.intervals import Ranges, is_inside, union
from loader.detection.matches import Match
from loader.detection.model import CompiledCorrelation, CompiledRule
from loader.detection.narrowing import narrowed
from loader.detection.rule_handler import acceptor
from loader.detection.window import Firing, Window
from loader.errors import ClusterError

_DAY_MS = 86_400_000
#: What is kept longer than the baseline, for events that come late, and read further back when it has to be read.
_MARGIN = 9 * _DAY_MS
_GROUPS = 500
_CONFLICTS = 8
#: Values read from the index before they are written.
_COLLECT = 20_000


def keeps_baseline(node: Node) -> bool:
    """Return whether :class:`FirstSeenAlerts` can run ``node``: first appearances of one rule, folded as grouped."""
    if not isinstance(node, CompiledCorrelation) or node.type.removeprefix("siem_") != "new_terms":
        return False
    alone = len(node.rules) == 1 and all(isinstance(child, CompiledRule) for child in node.rules.values())
    return alone and set(Tree(node).fold_by) == set(node.group_by)


class FirstSeenAlerts(FoldedAlerts):
    """One ``new_terms`` correlation during a cycle."""

    last = True

    def __init__(self, node: CompiledCorrelation, *, client: OpenSearch, **how: Any) -> None:
        super().__init__(node, **how)
        #: There is no past that it does not get to see.
        self._fresh = False
        self._node = node
        ((self._reference, leaf),) = node.rules.items()
        assert isinstance(leaf, CompiledRule)  # noqa: S101 (keeps_baseline says so)
        self._leaf = leaf
        self._window: Window = self._tree.windows[id(node)]
        self._length = bin_length(self._window.baseline)
        self._keep = self._window.baseline + _MARGIN
        self._baselines = BaselineStore(
            client, self.subject.key, node.rule.name, length=self._length, clock=self._clock
        )
        #: What the matches noted since the last settling add, and when they were, by group.
        self._added: dict[Group, Seen] = {}
        self._moments: dict[Group, set[int]] = defaultdict(set)
        #: What was new when a group was first read, kept until the settling is done: somebody with a later limit may
        #: have judged by more meanwhile, and our older view may have come after theirs.
        self._before: dict[Group, set[News]] = {}
        #: While alerts are worked out: first sights that are new, by group; and from when on the baselines are whole.
        self._news: dict[Group, set[News]] = {}
        self._since = 0

    def begin(self, *, fresh: bool) -> None:
        """See :class:`RuleHandler`: a rule that has examined nothing need not read the past."""
        self._fresh = fresh

    def _note(self, leaf: str, matches: Iterable[Match], *, historic: bool = False, reach: int | None = None) -> None:
        assert leaf == self._leaf.query_hash  # noqa: S101 (there is no other)
        for match in matches:
            groups = self._groups(match)
            if not groups and reach is None:
                self.count.ungrouped += match.events
            for group in groups:
                seen = self._added.setdefault(group, Seen(self._length))
                for term in self._terms(match):
                    seen.add(term_key(term), match.time, match.time)
                self._moments[group].add(match.time)
                if not historic:
                    self._live.add(group)

    def _group_paths(self, leaf: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*super()._group_paths(leaf), *self._fields())))

    def _bin_length(self) -> int:
        return self._length

    def _fields(self) -> list[str]:
        aliases = self._node.aliases
        return [
            aliases[name].get(self._reference, "") if name in aliases else name for name in self._node.condition.fields
        ]

    def _groups(self, match: Match) -> list[Group]:
        found = self._tree.groups(self._leaf.query_hash, match)
        return [group for group in found if all(value is not None for _, value in group)]

    def _terms(self, match: Match) -> tuple[Any, ...]:
        return counted(self._node, self._reference, Trigger(match.time, match))

    def _forget(self) -> None:
        super()._forget()
        self._added, self._news, self._before = {}, {}, {}
        self._moments = defaultdict(set)

    def _settle(self, limit: int) -> None:
        if not self._added:
            return
        self._learn(min(min(moments) for moments in self._moments.values()) - self._window.baseline)
        groups = sorted(self._added, key=str)
        for start in range(0, len(groups), _GROUPS):
            self._judge(groups[start : start + _GROUPS], limit)

    def _judge(self, groups: Sequence[Group], limit: int) -> None:
        """Bring the alerts of ``groups`` in line with what has been added, and save it."""
        baseline = self._window.baseline
        for attempt in range(_CONFLICTS):
            stored = self._baselines.read(groups)
            self._step("baselines read")
            joined = {group: stored[group].seen.joined(self._added[group]) for group in groups}
            hits: dict[Group | None, Ranges] = {}
            for group in groups:
                before = self._before.setdefault(group, stored[group].seen.news(baseline))
                now = joined[group].news(baseline)
                self._news[group] = {(term, time) for term, time in now if self._ripe(time)}
                known = self._moments[group]
                # Whatever is new from the first touched moment on: some of it may have been judged by other views.
                changed = {time for _, time in before | now if time >= min(known)}
                self.count.learning += sum(
                    time in known and time <= limit for _, time in now - self._news[group] if not attempt
                )
                if spans := union((time, time) for time in changed if time <= limit):
                    hits[group] = spans
            if hits:
                self._rework(hits, limit)
            groups = self._save(stored, joined, hits)
            self._step("baselines saved")
            if not groups:
                return
            self._clock.sleep(0.05 * 2**attempt)
        raise ClusterError("baselines keep changing while they are worked out", where=self._node.rule.where)

    def _save(
        self, stored: Mapping[Group, Baseline], joined: Mapping[Group, Seen], judged: Iterable[Group | None]
    ) -> list[Group]:
        """Save baselines; those that were judged by even if nothing was added: nobody may have changed them since."""
        touched = set(judged)
        kept = {group: seen.since(self._since) for group, seen in joined.items()}
        changed = {group: seen for group, seen in kept.items() if group in touched or seen != stored[group].seen}
        versions = {group: stored[group].version for group in changed}
        return sorted(self._baselines.write(changed, versions, now=self._clock.now(), keep=self._keep), key=str)

    def _triggers(
        self, wanted: Mapping[Group | None, Ranges], limit: int, paths: Sequence[str]
    ) -> dict[Group | None, list[Trigger]]:
        fresh: dict[Group | None, dict[int, set[Any]]] = defaultdict(lambda: defaultdict(set))
        for group, spans in wanted.items():
            for term, time in self._news.get(group, ()) if group is not None else ():
                if time <= limit and is_inside(time, spans):
                    fresh[group][time].add(term)
        times = sorted({time for moments in fresh.values() for time in moments})
        by_group: dict[Group | None, list[Trigger]] = defaultdict(list)
        if not times:
            return by_group
        everywhere: dict[Group | None, Ranges] = dict.fromkeys(fresh, ((times[0], times[-1]),))
        also = narrowed(self._tree, self._leaf.query_hash, everywhere, 0)
        for match in self._reader.read_at(self._leaf, times, paths, also=also, accept=acceptor(self._leaf)):
            for group in self._groups(match):
                news = fresh[group][match.time] if group in fresh else set()
                terms = tuple(term for term in self._terms(match) if term_key(term) in news)
                if terms:
                    by_group[group].append(self._trigger(group, match, terms))
        for triggers in by_group.values():
            triggers.sort(key=lambda trigger: (trigger.time, trigger.event.id))
        return by_group

    def _trigger(self, group: Group, match: Match, news: tuple[Any, ...]) -> Trigger:
        run = Run(self._window, group, [match], [match.time])
        return Trigger(
            match.time,
            match,
            group,
            Firing(
                match.time,
                0,
                len(news),
                news=news,
                known_days=self._known_days(match.time) if self._warm_up else None,
            ),
            run,
        )

    def _learn(self, need: int) -> None:
        """Make sure that the baselines are whole from ``need`` on: read what they lack from the index."""
        now = self._clock.now()
        today = int(now.timestamp() * 1000)
        for _ in range(_CONFLICTS):
            known = self._baselines.read_extent()
            wanted = known
            if known.since is None or need < known.since:
                since = 0 if known.since is None and self._fresh else max(0, need - _MARGIN)
                if since:
                    self._read_past(since, known.since)
                wanted = replace(wanted, since=since)
            if today - known.pruned > _DAY_MS:
                # Said first, removed afterwards: nobody takes for whole what is being removed.
                wanted = replace(wanted, since=max(wanted.since or 0, min(need, today - self._keep)), pruned=today)
            if wanted == known or self._baselines.save_extent(wanted, now=now, keep=self._keep):
                if wanted.pruned != known.pruned:
                    self._baselines.prune(now=now, abandoned_ms=4 * self._keep)
                self._since = wanted.since or 0
                return
        raise ClusterError("somebody else keeps reading the same baselines", where=self._node.rule.where)

    def _read_past(self, start: int, end: int | None) -> None:
        """Add what the index holds of [start, end); without an end, everything after."""
        until = int(self._clock.now().timestamp() * 1000) + _DAY_MS if end is None else end - 1
        found: dict[Group, Seen] = {}
        collected = 0
        for group, term, sight in self._sights(start, until):
            found.setdefault(group, Seen(self._length)).add(term_key(term), *sight)
            collected += 1
            if collected >= _COLLECT:
                self._add(found)
                found, collected = {}, 0
        self._add(found)

    def _sights(self, start: int, end: int) -> Iterable[tuple[Group, Any, tuple[int, int]]]:
        """Yield group, value, and first and last sight in a bin: worked out by the server if it can."""
        (route,) = (self._tree.routes or {})[self._leaf.query_hash][:1] or ({},)
        fields = self._fields()
        self._reader.refresh(self._leaf.index)
        counted_by_server = self._reader.sights(self._leaf, [*route.values(), *fields], start, end, self._length)
        if counted_by_server is not None:
            for row, sight in counted_by_server:
                yield tuple(sorted(zip(route, row, strict=False))), tuple(row[len(route) :]), sight
            return
        for page in self._reader.pages(self._leaf, start, end, self._tree.paths, accept=acceptor(self._leaf)):
            for match in page:
                for group in self._groups(match):
                    for term in self._terms(match):
                        yield group, term, (match.time, match.time)

    def _add(self, found: Mapping[Group, Seen]) -> None:
        """Join baselines with what was read."""
        groups = list(found)
        for attempt in range(_CONFLICTS):
            lost: list[Group] = []
            for start in range(0, len(groups), _GROUPS):
                part = groups[start : start + _GROUPS]
                stored = self._baselines.read(part)
                joined = {group: stored[group].seen.joined(found[group]) for group in part}
                changed = {group: seen for group, seen in joined.items() if seen != stored[group].seen}
                versions = {group: stored[group].version for group in changed}
                lost += self._baselines.write(changed, versions, now=self._clock.now(), keep=self._keep)
            if not lost:
                return
            groups = lost
            self._clock.sleep(0.05 * 2**attempt)
        raise ClusterError("baselines keep changing while they are read", where=self._node.rule.where)
