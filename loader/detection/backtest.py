"""The alerts a rule would have raised over the past, without raising any: nothing is written.

Events are read as a cycle reads them, and the alerts have the ids a cycle would give them; so two versions of a rule
can be compared alert by alert, and with what is stored. Where a rule waits for late events, moments it would not have
judged yet are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from loader.clock import rfc3339
from loader.detection.alerts import event_alert
from loader.detection.buckets import Bucket, compose, content
from loader.detection.correlation import Group, Node, Tree, Trigger
from loader.detection.event_reader import EventReader
from loader.detection.matches import SHOWN_PATHS, Match
from loader.detection.model import CompiledRule
from loader.detection.rule_handler import acceptor

_DAY_MS = 86_400_000
#: Kept of an alert's evidence.
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Raised:
    """One alert that would have been raised. ``events`` counts them all; ``evidence`` links the first ones."""

    id: str
    time: datetime
    reason: str
    group: str
    events: int
    evidence: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "id": self.id,
            "@timestamp": rfc3339(self.time),
            "reason": self.reason,
            "group": self.group,
            "events": self.events,
            "evidence": [{"index": index, "id": identifier} for index, identifier in self.evidence],
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions of a rule over the same events: by alert ids, and those of both whose events differ."""

    added: list[Raised] = field(default_factory=list)
    removed: list[Raised] = field(default_factory=list)
    changed: list[Raised] = field(default_factory=list)


def backtest(node: Node, reader: EventReader, *, start: datetime, end: datetime, now: datetime) -> list[Raised]:
    """Return the alerts of ``node`` whose first trigger is in [start, end), in the order of time.

    Raises:
        RuleError: the events cannot be read, or are too many.
        ClusterError: the cluster cannot be reached.
    """
    first, last = int(start.timestamp() * 1000), int(end.timestamp() * 1000) - 1
    if isinstance(node, CompiledRule) and node.rule.suppression is None:
        return list(_single(node, reader, first, last, now))
    return list(_folded(Tree(node), reader, first, last, now))


def judged_until(node: Node, end: datetime, *, now: datetime, lateness: timedelta) -> datetime:
    """Return up to when a cycle that runs now would have judged, at most ``end``."""
    return end if Tree(node).monotone else min(end, now - lateness)


def compare(one: Sequence[Raised], other: Sequence[Raised]) -> Comparison:
    """Return what ``one`` raises that ``other`` does not, the other way round, and what both raise of other events."""
    mine, its = {alert.id: alert for alert in one}, {alert.id: alert for alert in other}
    return Comparison(
        added=[alert for alert in one if alert.id not in its],
        removed=[alert for alert in other if alert.id not in mine],
        changed=[
            alert
            for alert in one
            if (before := its.get(alert.id)) and (before.events, before.evidence) != (alert.events, alert.evidence)
        ],
    )


def _single(rule: CompiledRule, reader: EventReader, first: int, last: int, now: datetime) -> Iterator[Raised]:
    """Read day by day: one day's events are all that is held at a time."""
    for begin in range(first, last + 1, _DAY_MS):
        stop = min(begin + _DAY_MS - 1, last)
        for match in reader.read(rule, begin, stop, SHOWN_PATHS, accept=acceptor(rule)):
            yield _raised(event_alert(rule.rule, match, now=now, historic=False), [match], 1)


def _folded(tree: Tree, reader: EventReader, first: int, last: int, now: datetime) -> Iterator[Raised]:
    """Work out stretches of whole buckets, so that no alert is cut in two."""
    paths = tuple(dict.fromkeys((*tree.paths, *SHOWN_PATHS)))
    size = tree.bucket
    length = size * -(-max(8 * size, 4 * tree.lookback, _DAY_MS) // size)
    for number in range(first // length, last // length + 1):
        begin, stop = max(first, number * length), min(last, (number + 1) * length - 1)
        found = {
            name: reader.read(leaf, begin - tree.lookback, stop, paths, accept=acceptor(leaf))
            for name, leaf in tree.leaves.items()
        }
        buckets: dict[tuple[Group, int], list[Trigger]] = defaultdict(list)
        for trigger in tree.triggers(found):
            if begin <= trigger.time <= stop:
                for group in tree.fold(trigger):
                    buckets[(group, trigger.time // size)].append(trigger)
        composed = []
        for (group, place), triggers in buckets.items():
            inside = content(Bucket(tree.root.rule.uuid, group, place, size), triggers)
            if inside is not None:
                alert = compose(tree, inside, now=now, historic=False, historic_after=timedelta.max)
                composed.append(_raised(alert, inside.shown, len(inside.events)))
        yield from sorted(composed, key=lambda one: (one.time, one.id))


def _raised(alert: Any, events: Sequence[Match], total: int) -> Raised:
    body = alert.body
    return Raised(
        alert.id,
        datetime.fromisoformat(body["@timestamp"].replace("Z", "+00:00")),
        body["event"]["reason"],
        body["siem"].get("group_key", ""),
        total,
        tuple((event.index, event.id) for event in events[:_SHOWN]),
    )
