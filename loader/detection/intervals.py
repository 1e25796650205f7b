"""Sets of whole numbers as inclusive ranges, neighbours merged: which sequence numbers were examined. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

#: One inclusive range, ``(first, last)``.
Range = tuple[int, int]
#: Ranges in ascending order that neither overlap nor touch.
Ranges = tuple[Range, ...]

EMPTY: Ranges = ()
#: Ranges that are collected before they are merged.
_COLLECT = 256


def union(*sets: Iterable[Range]) -> Ranges:
    """Return everything that is in any of ``sets``; ``(0, 4)`` and ``(5, 9)`` become ``(0, 9)``."""
    merged: list[Range] = []
    for first, last in sorted(span for ranges in sets for span in ranges if span[0] <= span[1]):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def difference(ranges: Iterable[Range], removed: Iterable[Range]) -> Ranges:
    """Return what is in ``ranges`` and not in ``removed``."""
    left: list[Range] = []
    holes = union(removed)
    for start, last in union(ranges):
        first = start
        for hole_first, hole_last in holes:
            if hole_last < first:
                continue
            if hole_first > last:
                break
            if hole_first > first:
                left.append((first, hole_first - 1))
            first = hole_last + 1
        if first <= last:
            left.append((first, last))
    return tuple(left)


def intersection(one: Iterable[Range], other: Iterable[Range]) -> Ranges:
    """Return what is in both."""
    first = union(one)
    return difference(first, difference(first, other))


def is_inside(number: int, ranges: Ranges) -> bool:
    """Return whether ``number`` is in one of ``ranges``."""
    position = bisect_right(ranges, number, key=lambda span: span[0])
    return position > 0 and number <= ranges[position - 1][1]


def size(ranges: Iterable[Range]) -> int:
    """Return how many numbers ``ranges`` hold."""
    return sum(last - first + 1 for first, last in union(ranges))


def split(ranges: Iterable[Range], most: int) -> list[Range]:
    """Cut ``ranges`` into pieces of at most ``most`` numbers each."""
    pieces: list[Range] = []
    for first, last in union(ranges):
        pieces += [(start, min(last, start + most - 1)) for start in range(first, last + 1, most)]
    return pieces


class Spans:
    """Ranges of times, merged now and then: there may be one for each of a million events."""

    def __init__(self) -> None:
        self._spans: list[Range] = []
        self._limit = _COLLECT

    def add(self, first: int, last: int) -> None:
        """Take the range from ``first`` to ``last`` in."""
        self._spans.append((first, last))
        if len(self._spans) > self._limit:
            self._spans[:] = union(self._spans)
            self._limit = 2 * len(self._spans) + _COLLECT

    def ranges(self) -> Ranges:
        """Return everything that was added."""
        return union(self._spans)
