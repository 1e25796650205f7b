"""What a sliding window measures, kept up to date as events enter and leave. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Any, Protocol


class Tally(Protocol):
    """A measure of the events inside a window."""

    def add(self, rule: str, values: Sequence[Any]) -> None:
        """Let an event in."""

    def remove(self, rule: str, values: Sequence[Any]) -> None:
        """Let an event go."""

    def measure(self) -> int | Fraction | None:
        """Return what the condition compares; ``None`` when there is nothing to measure."""

    def present(self) -> Mapping[str, int]:
        """Return how often each reference occurs."""


class _Events:
    """``event_count``: how many events."""

    def __init__(self) -> None:
        self._rules: Counter[str] = Counter()

    def add(self, rule: str, values: Sequence[Any]) -> None:
        self._rules[rule] += 1
        self._take(values)

    def remove(self, rule: str, values: Sequence[Any]) -> None:
        self._rules[rule] -= 1
        self._drop(values)

    def measure(self) -> int | Fraction | None:
        return self._rules.total()

    def present(self) -> Mapping[str, int]:
        return self._rules

    def _take(self, values: Sequence[Any]) -> None: ...

    def _drop(self, values: Sequence[Any]) -> None: ...


class _References(_Events):
    """``temporal``: how many different references."""

    def measure(self) -> int | Fraction | None:
        return sum(1 for count in self._rules.values() if count > 0)


class _Distinct(_Events):
    """``value_count``: how many different values."""

    def __init__(self) -> None:
        super().__init__()
        self._values: Counter[Hashable] = Counter()

    def measure(self) -> int | Fraction | None:
        return len(self._values)

    def _take(self, values: Sequence[Any]) -> None:
        self._values.update(values)

    def _drop(self, values: Sequence[Any]) -> None:
        for value in values:
            self._values[value] -= 1
            if not self._values[value]:
                del self._values[value]


class _Sum(_Events):
    """``value_sum``, exactly: a sum of floats that is kept up by adding and subtracting would drift."""

    def __init__(self) -> None:
        super().__init__()
        self._sum = Fraction(0)

    def measure(self) -> int | Fraction | None:
        return self._sum

    def _take(self, values: Sequence[Any]) -> None:
        self._sum += sum(map(Fraction, values))

    def _drop(self, values: Sequence[Any]) -> None:
        self._sum -= sum(map(Fraction, values))


class _Sorted(_Events):
    """The values of the window in order."""

    def __init__(self) -> None:
        super().__init__()
        self._values: list[Fraction] = []

    def _take(self, values: Sequence[Any]) -> None:
        for value in values:
            insort(self._values, Fraction(value))

    def _drop(self, values: Sequence[Any]) -> None:
        for value in values:
            del self._values[bisect_left(self._values, Fraction(value))]


class _Average(_Sorted):
    """``value_avg``."""

    def measure(self) -> int | Fraction | None:
        return Fraction(sum(self._values), len(self._values)) if self._values else None


class _Percentile(_Sorted):
    """``value_percentile`` by nearest rank: the smallest value that at least ``percentile`` % are not above."""

    def __init__(self, percentile: float) -> None:
        super().__init__()
        self._percentile = Fraction(percentile)

    def measure(self) -> int | Fraction | None:
        if not self._values:
            return None
        rank = ceil(self._percentile * len(self._values) / 100)
        return self._values[max(rank, 1) - 1]


class _Median(_Sorted):
    """``value_median``: the mean of the two in the middle when their number is even."""

    def measure(self) -> int | Fraction | None:
        count = len(self._values)
        if not count:
            return None
        return (self._values[(count - 1) // 2] + self._values[count // 2]) / 2


def tally_for(kind: str, percentile: float | None) -> Tally:
    """Return an empty tally for a correlation type.

    Raises:
        KeyError: no such type.
    """
    if kind == "value_percentile":
        return _Percentile(50.0 if percentile is None else percentile)
    return {
        "event_count": _Events,
        "temporal": _References,
        "value_count": _Distinct,
        "value_sum": _Sum,
        "value_avg": _Average,
        "value_median": _Median,
    }[kind]()
