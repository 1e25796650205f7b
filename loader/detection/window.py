"""Sliding windows, exactly: occurrences with times and values in, firings out. Pure: no clock, no I/O, no rules.

Sigma's correlation specification 2.1 (https://sigmahq.io/sigma-specification/specification/sigma-correlation-rules-specification.html)
leaves open where windows begin. Here a matching event at t fires if the closed window [t - span, t], ties included,
satisfies the condition: no burst that fits into the span is cut in two, and events of one second (CloudTrail's
resolution) are judged together. Times are whole milliseconds.

Beside the specification's types there are four of this project:

- ``new_terms``: an occurrence fires if a value it has (or, without fields, the occurrence itself) was not seen in
  [t - baseline, t);
- ``spike``: the count in [t - span, t], divided by the mean count of a span over the baseline before it,
  [t - span - baseline, t - span), is compared; at least ``minimum`` occurrences are needed;
- ``absence``: nothing occurs in (t, t + span] after an occurrence at t. It fires at t + span;
- ``impossible_travel``: an occurrence fires if one of [t - span, t] was at least ``distance_km`` away, and getting from
  there to here takes more than ``speed_kmh``. Any pair counts, not only neighbours, so it is monotone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate, groupby
from math import inf
from typing import Any

from loader.detection.places import Journey, Sighting, Traveller
from loader.detection.tally import tally_for

#: Boolean expression over references: ``("ref", name)``, ``("not", x)``, ``("and", x, …)``, ``("or", x, …)``.
Expression = tuple[Any, ...]
Number = int | Fraction

#: Types of this project. Those with a baseline wait until the watermark has passed.
BASELINES = ("new_terms", "spike", "absence")
EXTENSIONS = (*BASELINES, "impossible_travel")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One event as the window sees it, once for each reference it satisfies.

    ``values`` are what is counted (any hashable), numbers for sums, averages and percentiles, or sightings of
    ``impossible_travel``.
    """

    time: int
    id: str
    rule: str = ""
    values: tuple[Any, ...] = ()
    #: How many events a spike's baseline takes it for.
    events: int = 1


@dataclass(frozen=True, slots=True)
class Window:
    """What has to hold. ``span`` and ``baseline`` are milliseconds.

    ``bounds`` maps gt, gte, lt, lte, eq and neq to a number each; all have to hold.
    """

    type: str
    span: int
    bounds: Mapping[str, float] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    percentile: float | None = None
    expression: Expression | None = None
    baseline: int = 0
    minimum: int = 1
    distance_km: float = 0
    speed_kmh: float = 0
    #: Of how much of the baseline there have to be events at all, before anything is judged by it. Not a matter of
    #: windows: who runs them looks at it.
    warm_up: int = 0

    @property
    def lookback(self) -> int:
        """Return how long before a firing an occurrence can matter."""
        return {"spike": self.span, "absence": self.span}.get(self.type, 0) + (
            self.baseline if self.type in BASELINES else self.span
        )

    @property
    def delay(self) -> int:
        """Return how long after its occurrence a firing is."""
        return self.span if self.type == "absence" else 0

    @property
    def monotone(self) -> bool:
        """Return whether one more occurrence can only add firings (for ``value_sum``: while no value is negative)."""
        if self.type in BASELINES or self.type in ("value_avg", "value_percentile", "value_median"):
            return False
        if self.expression is not None:
            return not _has_not(self.expression)
        return set(self.bounds) <= {"gt", "gte"}


@dataclass(frozen=True, slots=True)
class Firing:
    """The window that ends at ``time`` satisfies the condition. ``position`` is the occurrence's, in order of time.

    ``measure`` is what was compared; ``expected`` a spike's mean; ``news`` the values that ``new_terms`` had not seen;
    ``journey`` what nobody can have travelled, from the occurrence at ``origin``; ``known_days`` how many days of the
    baseline have events at all (``None``: nobody looked).
    """

    time: int
    position: int
    measure: Number | float = 0
    expected: float | None = None
    news: tuple[Any, ...] = ()
    journey: Journey | None = None
    origin: int | None = None
    known_days: int | None = None


def in_order(occurrences: Sequence[Occurrence]) -> list[Occurrence]:
    """Return ``occurrences`` in the order :func:`firings` expects and its positions mean.

    Those of one event stay as they are given: the first is the one whose values count.
    """
    return sorted(occurrences, key=lambda o: (o.time, o.id))


def firings(window: Window, ordered: Sequence[Occurrence]) -> list[Firing]:
    """Return every firing among ``ordered`` (see :func:`in_order`), in the order of time, each event once."""
    if window.type == "new_terms":
        return list(_new_terms(window, ordered))
    if window.type == "spike":
        return list(_spikes(window, ordered))
    if window.type == "absence":
        return list(_absences(window, ordered))
    if window.type == "impossible_travel":
        return list(_journeys(window, ordered))
    if window.type == "temporal_ordered":
        return list(_sequences(window, ordered))
    return list(_tallied(window, ordered))


def holds(bounds: Mapping[str, float], measure: Number | float | None) -> bool:
    """Return whether ``measure`` is within all of ``bounds``. What could not be measured is not."""
    if measure is None:
        return False
    return all(_COMPARE[name](measure, bound) for name, bound in bounds.items())


_COMPARE: dict[str, Any] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "neq": lambda a, b: a != b,
}


def _moments(ordered: Sequence[Occurrence]) -> Iterator[tuple[int, range]]:
    """Yield each time and the positions of its occurrences."""
    start = 0
    for time, group in groupby(ordered, key=lambda o: o.time):
        end = start + sum(1 for _ in group)
        yield time, range(start, end)
        start = end


def _each_event(ordered: Sequence[Occurrence], positions: range) -> Iterator[int]:
    """Yield one position for each event: an event that satisfies two references fires once."""
    last = None
    for position in positions:
        if ordered[position].id != last:
            last = ordered[position].id
            yield position


def _tallied(window: Window, ordered: Sequence[Occurrence]) -> Iterator[Firing]:
    bounds = window.bounds or {"gte": len(window.rules) if window.type == "temporal" else 1}
    tally = tally_for(window.type, window.percentile)
    inside: deque[Occurrence] = deque()
    for time, positions in _moments(ordered):
        # Names and different values are as many as there are; events and amounts count once, whatever they satisfy.
        counted = positions if window.type in ("temporal", "value_count") else _each_event(ordered, positions)
        for occurrence in (ordered[position] for position in counted):
            tally.add(occurrence.rule, occurrence.values)
            inside.append(occurrence)
        while inside[0].time < time - window.span:
            gone = inside.popleft()
            tally.remove(gone.rule, gone.values)
        measure = tally.measure()
        if window.expression is not None:
            satisfied = _true(window.expression, tally.present())
        else:
            satisfied = holds(bounds, measure)
        if satisfied:
            for position in _each_event(ordered, positions):
                yield Firing(time, position, measure or 0)


def _sequences(window: Window, ordered: Sequence[Occurrence]) -> Iterator[Firing]:
    bounds = window.bounds or {"gte": len(window.rules)}
    times: dict[str, list[int]] = {rule: [] for rule in window.rules}
    for occurrence in ordered:
        times.setdefault(occurrence.rule, []).append(occurrence.time)
    for time, positions in _moments(ordered):
        start = time - window.span
        if window.expression is not None:
            length = 0
            satisfied = _completed(window.expression, start, times) <= time
        else:
            length = _longest(window.rules, start, time, times)
            satisfied = holds(bounds, length)
        if satisfied:
            for position in _each_event(ordered, positions):
                yield Firing(time, position, length)


def _longest(rules: Sequence[str], start: int, end: int, times: Mapping[str, list[int]]) -> int:
    """Return how many of ``rules`` occur in their order (others may be left out) within [start, end]."""
    # reached[n]: the earliest time at which n rules have occurred in order.
    reached: list[float] = [start]
    for rule in rules:
        for length in range(len(reached) - 1, -1, -1):
            when = _next(times[rule], reached[length])
            if when > end:
                continue
            if length + 1 == len(reached):
                reached.append(when)
            elif when < reached[length + 1]:
                reached[length + 1] = when
    return len(reached) - 1


def _completed(expression: Expression, start: float, times: Mapping[str, list[int]]) -> float:
    """Return when ``expression`` is first fulfilled from ``start`` on; parts of an ``and`` follow one another."""
    kind, *parts = expression
    if kind == "ref":
        return _next(times.get(parts[0], []), start)
    if kind == "or":
        return min(_completed(part, start, times) for part in parts)
    if kind == "and":
        for part in parts:
            start = _completed(part, start, times)
        return start
    raise ValueError("an order has no 'not'")


def _next(times: Sequence[int], start: float) -> float:
    position = bisect_left(times, start)
    return times[position] if position < len(times) else inf


def _true(expression: Expression, present: Mapping[str, int]) -> bool:
    kind, *parts = expression
    if kind == "ref":
        return present.get(parts[0], 0) > 0
    if kind == "not":
        return not _true(parts[0], present)
    return (all if kind == "and" else any)(_true(part, present) for part in parts)


def _has_not(expression: Expression) -> bool:
    kind, *parts = expression
    return kind == "not" or (kind != "ref" and any(_has_not(part) for part in parts))


def _new_terms(window: Window, ordered: Sequence[Occurrence]) -> Iterator[Firing]:
    seen: dict[Any, int] = {}
    for time, positions in _moments(ordered):
        counted = list(_each_event(ordered, positions))
        for position in counted:
            terms = ordered[position].values
            news = tuple(term for term in terms if term not in seen or seen[term] < time - window.baseline)
            if news:
                yield Firing(time, position, len(news), news=news)
        for position in counted:
            seen.update(dict.fromkeys(ordered[position].values, time))


def _events(ordered: Sequence[Occurrence]) -> list[Occurrence]:
    """Return the distinct events, in order."""
    return [ordered[p] for _, positions in _moments(ordered) for p in _each_event(ordered, positions)]


def _spikes(window: Window, ordered: Sequence[Occurrence]) -> Iterator[Firing]:
    events = _events(ordered)
    times = [event.time for event in events]
    sums = [0, *accumulate(event.events for event in events)]
    for time, positions in _moments(ordered):
        begin = bisect_left(times, time - window.span)
        count = sums[bisect_right(times, time)] - sums[begin]
        before = sums[begin] - sums[bisect_left(times, time - window.span - window.baseline)]
        expected = Fraction(before * window.span, window.baseline)
        ratio = count / expected if expected else inf
        if count >= window.minimum and holds(window.bounds, ratio):
            for position in _each_event(ordered, positions):
                yield Firing(time, position, float(ratio) if ratio != inf else inf, expected=float(expected))


def _absences(window: Window, ordered: Sequence[Occurrence]) -> Iterator[Firing]:
    times = [event.time for event in _events(ordered)]
    moments = list(_moments(ordered))
    for number, (time, positions) in enumerate(moments):
        if number + 1 < len(moments) and moments[number + 1][0] <= time + window.span:
            continue
        before = bisect_right(times, time) - bisect_left(times, time - window.baseline)
        if before >= window.minimum and holds(window.bounds, before):
            yield Firing(time + window.span, positions[-1], before)


def _journeys(window: Window, ordered: Sequence[Occurrence]) -> Iterator[Firing]:
    traveller = Traveller(window.span, window.distance_km, window.speed_kmh)
    for time, positions in _moments(ordered):
        seen: list[tuple[int, Sighting]] = [(p, s) for p in _each_event(ordered, positions) for s in ordered[p].values]
        traveller.see(time, seen)
        fired = -1
        for position, sighting in seen:
            if position != fired and (found := traveller.journey_to(time, sighting)):
                journey, origin = found
                fired = position
                yield Firing(time, position, journey.speed_kmh, journey=journey, origin=origin)
