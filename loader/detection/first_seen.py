"""When each value was seen, in little: enough to tell exactly what was new, without the events. Pure.

An event at t is new if its value was not seen in [t - baseline, t). Time is cut into bins no longer than the baseline,
and of each bin the first and the last sight of a value are kept. Then only the first sight in a bin can be new (a later
one has it within the baseline before), and it is new exactly if the last sight in the bin before, however far back, is
longer ago than the baseline.

Two notes are joined by taking the earlier first and the later last sight. That can be done in any order and any number
of times with the same result, so nothing has to be read again or counted: the same as with alert ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from loader.index.identifiers import derived_id

_DAY_MS = 86_400_000
#: Values that are longer are kept as a hash.
_LONGEST = 120
#: Bins of all values of one group. An attacker may make new values at will; the oldest are then forgotten, and look new
#: again when they come back: more is raised, not less.
MOST = 20_000

#: Bin number → (first, last) sight in it, milliseconds since 1970.
Bins = dict[int, tuple[int, int]]
#: One first sight that is new: the value's key, and when.
News = tuple[str, int]


def bin_length(baseline: int) -> int:
    """Return the milliseconds of a bin: a day, or the baseline if that is shorter."""
    return max(1, min(_DAY_MS, baseline))


def term_key(term: Any) -> str:
    """Return a value (a tuple of texts, numbers and marked booleans) as text, the same for the same value."""
    parts = [int(part) if isinstance(part, float) and part.is_integer() else part for part in term]
    key = orjson.dumps(parts, default=str).decode()
    return key if len(key) <= _LONGEST else f"#{derived_id(key)}"


class Seen:
    """The values of one group."""

    __slots__ = ("_length", "_terms")

    def __init__(self, length: int, terms: Mapping[str, Bins] | None = None) -> None:
        self._length = length
        self._terms: dict[str, Bins] = {term: dict(bins) for term, bins in (terms or {}).items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seen) and (self._length, self._terms) == (other._length, other._terms)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, term: str, first: int, last: int) -> None:
        """Note that ``term`` was seen at ``first`` and at ``last``, which lie in one bin."""
        bins = self._terms.setdefault(term, {})
        number = first // self._length
        known = bins.get(number, (first, last))
        bins[number] = (min(first, known[0]), max(last, known[1]))

    def joined(self, other: Seen) -> Seen:
        """Return what either knows."""
        both = Seen(self._length, self._terms)
        for term, bins in other._terms.items():
            for first, last in bins.values():
                both.add(term, first, last)
        return both

    def since(self, earliest: int) -> Seen:
        """Return it without the bins that ended before ``earliest``, and without the oldest if there are too many."""
        kept = {
            term: left
            for term, bins in self._terms.items()
            if (left := {number: sight for number, sight in bins.items() if sight[1] >= earliest})
        }
        if sum(map(len, kept.values())) > MOST:
            newest = sorted(((sight[1], term, number) for term, bins in kept.items() for number, sight in bins.items()))
            few: dict[str, Bins] = {}
            for _, term, number in newest[-MOST:]:
                few.setdefault(term, {})[number] = kept[term][number]
            kept = few
        return Seen(self._length, kept)

    def news(self, baseline: int) -> set[News]:
        """Return the first sights that were new."""
        found: set[News] = set()
        for term, bins in self._terms.items():
            before: int | None = None
            for _, (first, last) in sorted(bins.items()):
                if before is None or before < first - baseline:
                    found.add((term, first))
                before = last
        return found

    @property
    def last(self) -> int:
        """Return the latest sight of anything; 0 if there is none."""
        return max((sight[1] for bins in self._terms.values() for sight in bins.values()), default=0)

    def stored(self) -> dict[str, list[tuple[int, int]]]:
        """Return it for JSON: value → first and last sight of each bin, in order."""
        return {term: [sight for _, sight in sorted(bins.items())] for term, bins in sorted(self._terms.items())}

    @classmethod
    def of(cls, length: int, stored: Mapping[str, Iterable[Iterable[int]]]) -> Seen:
        """Return what :meth:`stored` gave."""
        seen = cls(length)
        for term, sights in stored.items():
            for first, last in sights:
                seen.add(term, first, last)
        return seen
