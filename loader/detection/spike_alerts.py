"""Rules that compare with the mean of a baseline (``spike``): as other folded alerts, but most of it is only counted.

A week of events, read again in each cycle, costs more the more happens. The server counts them instead, by group and
hour; events are read where that leaves open whether there is a spike (:mod:`loader.detection.spikes`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from loader.detection.correlation import Group, Node, Tree, Trigger
from loader.detection.folded_alerts import FoldedAlerts
from loader.detection.intervals import Ranges, intersection, union
from loader.detection.matches import Flat, Match
from loader.detection.model import CompiledCorrelation, CompiledRule
from loader.detection.narrowing import narrowed
from loader.detection.plausible import hull, uncountable
from loader.detection.spikes import can_spike, needed
from loader.detection.window import Window


def counts_baseline(node: Node) -> bool:
    """Return whether :class:`SpikeAlerts` can run ``node``: a spike of one rule's events, folded as grouped."""
    if not isinstance(node, CompiledCorrelation) or node.type.removeprefix("siem_") != "spike":
        return False
    alone = len(node.rules) == 1 and all(isinstance(child, CompiledRule) for child in node.rules.values())
    tree = Tree(node)
    return alone and bool(node.group_by) and set(tree.fold_by) == set(node.group_by) and tree.routes is not None


class SpikeAlerts(FoldedAlerts):
    """One ``spike`` correlation during a cycle."""

    def __init__(self, node: CompiledCorrelation, **how: Any) -> None:
        super().__init__(node, **how)
        self._window: Window = self._tree.windows[id(node)]
        ((self._leaf, self._base),) = self._tree.leaves.items()
        ((self._route,),) = (self._tree.routes or {}).values()

    def _triggers(
        self, wanted: Mapping[Group | None, Ranges], limit: int, paths: Sequence[str]
    ) -> dict[Group | None, list[Trigger]]:
        counted = {group: spans for group, spans in wanted.items() if group is not None and not uncountable(group)}
        counts = self._count(counted)
        if counts is None:
            return super()._triggers(wanted, limit, paths)
        rest = {group: spans for group, spans in wanted.items() if group not in counted}
        by_group = super()._triggers(rest, limit, paths) if rest else {}
        known = {group: self._known(bins, counted[group], limit) for group, bins in counts.items() if group in counted}
        found = self._read_bins({group: bins.open for group, bins in known.items() if bins.places}, paths)
        for group, events in found.items():
            bins = known[group]
            numbers = [self._told(group, number, count) for number, count in bins.counts.items()]
            by_group |= self._among({self._leaf: [*events, *numbers]}, {group: bins.places}, limit)
        return by_group

    def _count(self, wanted: Mapping[Group, Ranges]) -> dict[Group, _Counts] | None:
        """Return how many events there are around ``wanted``; ``None`` if the server cannot tell exactly."""
        if not wanted:
            return {}
        length = self._window.span
        first, last = hull(wanted.values())
        first, last = (first - self._tree.lookback) // length * length, (last // length + 1) * length - 1
        also = narrowed(self._tree, self._leaf, dict.fromkeys(wanted, ((first, last),)), 0)
        ask = partial(self._reader.count_bins, self._base, self._route, first, last, length, also=also)
        counts, copies = ask(), ask(copies=True)
        if counts is None or copies is None:
            return None
        found: dict[Group, _Counts] = defaultdict(_Counts)
        for (group, number), count in counts.items():
            found[group].all[number] = count
        for group, number in copies:
            found[group].uncertain.add(number)
        return found

    def _known(self, counts: _Counts, wanted: Ranges, limit: int) -> _Known:
        """Return where there may be a spike in ``wanted``, and what has to be known of which bin to tell."""
        length = self._window.span
        asked = intersection(wanted, [(-(2**62), limit)])
        likely = {
            number
            for number in can_spike(self._window, counts.all)
            if any(first <= (number + 1) * length - 1 and number * length <= last for first, last in asked)
        }
        places = intersection(asked, _spans(likely, length))
        # An event that stands in two indices was counted twice: such a bin has to be read.
        apart = needed(self._window, likely) | counts.uncertain
        return _Known(places, apart, {number: count for number, count in counts.all.items() if number not in apart})

    def _read_bins(self, bins: Mapping[Group, set[int]], paths: Sequence[str]) -> dict[Group, list[Match]]:
        """Return the events of each group in its ``bins``."""
        found: dict[Group, list[Match]] = {group: [] for group in bins}
        if not bins:
            return found
        length = self._window.span
        wanted: dict[Group | None, Ranges] = {group: _spans(numbers, length) for group, numbers in bins.items()}
        also = narrowed(self._tree, self._leaf, wanted, 0)
        for match in self._reader.read(self._base, *hull(wanted.values()), paths, also=also):
            for group in self._tree.groups(self._leaf, match):
                if match.time // length in bins.get(group, ()):
                    found[group].append(match)
        return found

    def _told(self, group: Group, number: int, count: int) -> Match:
        """Return what stands for the events of a bin."""
        source = Flat({self._route[name]: [value] for name, value in group})
        return Match("", f"bin {number}", number * self._window.span, source, count)


@dataclass(slots=True)
class _Counts:
    """How many events a group has in each bin; and the bins in which one may have been counted twice."""

    all: dict[int, int] = field(default_factory=dict)
    uncertain: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Known:
    """Where there may be triggers, the bins whose events have to be read for it, and the numbers of the others."""

    places: Ranges
    open: set[int]
    counts: Mapping[int, int]


def _spans(numbers: Iterable[int], length: int) -> Ranges:
    return union((number * length, (number + 1) * length - 1) for number in numbers)
