"""What is to be examined next: from how far rules and shards have come to slices of work. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from loader.detection.coverage import Extent, Registry, ShardCoverage
from loader.detection.cursor import Shard, belongs
from loader.detection.intervals import EMPTY, Range, Ranges, difference, intersection, split, union

#: Where a rule starts that the ledger does not know: with the next document, or with the first.
Start = Literal["now", "past"]


#: Minutes in one piece, where minutes are counted.
_MINUTES = 720


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that has to see every document: a rule, by the key of its content, and the indices it is about."""

    key: str
    uuid: str
    index: str


@dataclass(frozen=True, slots=True)
class Slice:
    """A range of sequence numbers of one shard (inclusive), and the rules that have not examined it."""

    shard: Shard
    first: int
    last: int
    keys: tuple[str, ...]
    #: Passed over when the rules were new, and now examined on request.
    historic: bool = False

    @property
    def span(self) -> Range:
        """Return ``(first, last)``."""
        return self.first, self.last


def admit(
    registry: Registry, coverages: Iterable[ShardCoverage], subjects: Sequence[Subject], start: Start
) -> list[ShardCoverage]:
    """Give rules that are new their place in the ledger; return the entries that changed.

    The first rules of all see everything. Later a changed rule goes on where its former version was, and a new one
    begins with the next document; with ``start="past"`` both see everything, and what they find there is historic.
    """
    new = [subject for subject in subjects if subject.key not in registry.rules]
    if not new or not registry.rules:
        registry.rules.update({subject.key: subject.uuid for subject in new})
        return []
    changed: dict[str, ShardCoverage] = {}
    for coverage in coverages:
        everything = ((0, coverage.shard.checkpoint),)
        for subject in new:
            if not belongs(coverage.shard.index, subject.index):
                continue
            extents = [coverage.extent(key) for key in registry.earlier(subject.uuid)]
            passed = (
                union(*(part for e in extents for part in (e.examined, e.waived))) if extents else union(everything)
            )
            if passed:
                coverage.rules[subject.key] = Extent(replay=passed) if start == "past" else Extent(waived=passed)
                changed[coverage.shard.id] = coverage
    registry.rules.update({subject.key: subject.uuid for subject in new})
    return list(changed.values())


def request_past(coverages: Iterable[ShardCoverage], keys: Iterable[str]) -> list[ShardCoverage]:
    """Let rules see what they were too young for. Return the ledger's entries that changed."""
    changed: list[ShardCoverage] = []
    wanted = set(keys)
    for coverage in coverages:
        before = dict(coverage.rules)
        for key, extent in before.items():
            if key in wanted and extent.waived:
                replay = union(extent.replay, difference(extent.waived, extent.examined))
                coverage.rules[key] = replace(extent, waived=EMPTY, replay=replay)
        if coverage.rules != before:
            changed.append(coverage)
    return changed


def slices(coverages: Iterable[ShardCoverage], subjects: Sequence[Subject], *, most: int) -> list[Slice]:
    """Return everything that is not examined yet, in pieces of at most ``most`` numbers, newest indices first.

    A piece is one for all rules that lack it: rules that have come equally far are asked together.
    """
    work: list[Slice] = []
    for coverage in sorted(coverages, key=lambda item: (item.shard.index, item.shard.number), reverse=True):
        lacking: dict[tuple[Ranges, Ranges], list[str]] = defaultdict(list)
        for subject in subjects:
            if belongs(coverage.shard.index, subject.index):
                extent = coverage.extent(subject.key)
                missing = extent.missing(coverage.shard)
                if missing:
                    lacking[(missing, intersection(missing, extent.replay))].append(subject.key)
        for span, keys, historic in _pieces(lacking):
            length = _MINUTES if coverage.shard.minutes else most
            work += [Slice(coverage.shard, *piece, keys, historic) for piece in split((span,), length)]
    return work


def _pieces(lacking: dict[tuple[Ranges, Ranges], list[str]]) -> list[tuple[Range, tuple[str, ...], bool]]:
    """Cut where any rule's missing ranges begin or end, so that every piece is missing to its rules as a whole."""
    spans = [span for pair in lacking for ranges in pair for span in ranges]
    cuts = sorted({first for first, _ in spans} | {last + 1 for _, last in spans})
    pieces: list[tuple[Range, tuple[str, ...], bool]] = []
    for start, end in pairwise(cuts):
        for historic in (False, True):
            keys: list[str] = []
            for (missing, replay), group in lacking.items():
                if _within(start, missing) and _within(start, replay) is historic:
                    keys += group
            if keys:
                pieces.append(((start, end - 1), tuple(sorted(keys)), historic))
    return _joined(pieces)


def _joined(pieces: list[tuple[Range, tuple[str, ...], bool]]) -> list[tuple[Range, tuple[str, ...], bool]]:
    joined: list[tuple[Range, tuple[str, ...], bool]] = []
    for piece in pieces:
        if joined and joined[-1][1:] == piece[1:] and joined[-1][0][1] + 1 == piece[0][0]:
            joined[-1] = ((joined[-1][0][0], piece[0][1]), piece[1], piece[2])
        else:
            joined.append(piece)
    return joined


def _within(number: int, ranges: Ranges) -> bool:
    return any(first <= number <= last for first, last in ranges)
