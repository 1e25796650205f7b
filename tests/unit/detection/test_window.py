"""Windows against a reference written straight from the specification: for each event, look at its window."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.detection.places import Place, Sighting, distance_km
from loader.detection.window import Occurrence, Window, firings, in_order

RULES = ("a", "b", "c")


def reference(window: Window, occurrences: Sequence[Occurrence]) -> set[tuple[int, str]]:
    """Return ``(time, event)`` of every firing: slow, and nothing but the definitions."""
    return {
        (occurrence.time + (window.span if window.type == "absence" else 0), occurrence.id)
        for occurrence in occurrences
        if _fires(window, occurrence, occurrences)
    }


def _fires(window: Window, event: Occurrence, all_: Sequence[Occurrence]) -> bool:
    inside = [o for o in all_ if event.time - window.span <= o.time <= event.time]
    if window.type == "new_terms":
        first = _one_each([o for o in all_ if o.id == event.id])[0]
        before = [o for o in _one_each(all_) if event.time - window.baseline <= o.time < event.time]
        return any(all(term not in o.values for o in before) for term in first.values)
    if window.type == "spike":
        count = len({o.id for o in inside})
        begin = event.time - window.span
        baseline = len({o.id for o in all_ if begin - window.baseline <= o.time < begin})
        expected = Fraction(baseline * window.span, window.baseline)
        ratio = count / expected if expected else math.inf
        return count >= window.minimum and _compare(window, ratio)
    if window.type == "absence":
        if any(event.time < o.time <= event.time + window.span for o in all_):
            return False
        before_it = {o.id for o in all_ if event.time - window.baseline <= o.time <= event.time}
        # Of events at one time the last stands for them.
        last = max(o.id for o in all_ if o.time == event.time)
        return event.id == last and len(before_it) >= window.minimum and _compare(window, len(before_it))
    if window.type == "impossible_travel":
        here = [value for o in _one_each(inside) if o.id == event.id for value in o.values]
        return any(
            _impossible(window, there.place, one.place, event.time - o.time)
            for one in here
            for o in _one_each(inside)
            for there in o.values
        )
    return _compare(window, _measure(window, inside))


def _impossible(window: Window, one: Place, other: Place, milliseconds: int) -> bool:
    far = distance_km(one, other)
    return far >= window.distance_km and far * 3_600_000 > window.speed_kmh * milliseconds


def _measure(window: Window, inside: Sequence[Occurrence]) -> Fraction | float | int | None:
    values = [value for o in _one_each(inside) for value in o.values]
    match window.type:
        case "event_count":
            return len({o.id for o in inside})
        case "value_count":
            return len({value for o in inside for value in o.values})
        case "value_sum":
            return sum(map(Fraction, values), Fraction(0))
        case "value_avg":
            return sum(map(Fraction, values), Fraction(0)) / len(values) if values else None
        case "value_median":
            ordered = sorted(map(Fraction, values))
            n = len(ordered)
            return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2 if n else None
        case "value_percentile":
            ordered = sorted(map(Fraction, values))
            for value in ordered:
                if sum(1 for other in ordered if other <= value) * 100 >= Fraction(window.percentile or 0) * len(
                    ordered
                ):
                    return value
            return None
        case "temporal":
            return len({o.rule for o in inside})
        case "temporal_ordered":
            return _longest(window.rules, inside, -math.inf)
    raise AssertionError(window.type)


def _longest(rules: Sequence[str], inside: Sequence[Occurrence], after: float) -> int:
    """Return how many rules can be had in order, by trying everything."""
    best = 0
    for number, rule in enumerate(rules):
        for o in inside:
            if o.rule == rule and o.time >= after:
                best = max(best, 1 + _longest(rules[number + 1 :], inside, o.time))
    return best


def _one_each(occurrences: Sequence[Occurrence]) -> list[Occurrence]:
    """Return one occurrence an event: its first reference's."""
    found: dict[str, Occurrence] = {}
    for o in occurrences:
        found.setdefault(o.id, o)
    return list(found.values())


def _compare(window: Window, measure: Fraction | float | int | None) -> bool:
    if measure is None:
        return False
    bounds = window.bounds or {"gte": len(window.rules) if window.type.startswith("temporal") else 1}
    if window.type in ("spike", "absence"):
        bounds = window.bounds
    compare = {
        "gt": operator.gt,
        "gte": operator.ge,
        "lt": operator.lt,
        "lte": operator.le,
        "eq": operator.eq,
        "neq": operator.ne,
    }
    return all(compare[name](measure, bound) for name, bound in bounds.items())


NUMERIC = ("value_sum", "value_avg", "value_median", "value_percentile")
OURS = ("new_terms", "spike", "absence", "impossible_travel")
TYPES = ("event_count", "value_count", *NUMERIC, "temporal", "temporal_ordered", *OURS)
#: Towns along a line, 300 km from one to the next, and one on the other side of the world.
TOWNS = [Sighting(f"a{n}", Place(0, n * 2.698, 0)) for n in range(5)] + [Sighting("far", Place(0, 180, 40))]


@st.composite
def windows(draw: st.DrawFn) -> Window:
    kind = draw(st.sampled_from(TYPES))
    operators = draw(st.lists(st.sampled_from(["gt", "gte", "lt", "lte", "eq", "neq"]), max_size=2, unique=True))
    if kind not in ("temporal", "temporal_ordered", *OURS) and not operators:
        operators = ["gte"]
    return Window(
        type=kind,
        span=0 if kind == "new_terms" else draw(st.integers(1, 12)),
        bounds={} if kind == "new_terms" else {name: draw(st.integers(0, 5)) for name in operators},
        rules=RULES[: draw(st.integers(1, 3))],
        percentile=draw(st.sampled_from([1.0, 50.0, 90.0, 99.9, 100.0])),
        baseline=draw(st.integers(1, 15)),
        minimum=draw(st.integers(1, 3)),
        distance_km=draw(st.sampled_from([200, 500, 1000])),
        # Times here are milliseconds: some pairs are possible within the span, some are not.
        speed_kmh=draw(st.sampled_from([1e8, 3e8, 9e8])),
    )


@st.composite
def histories(draw: st.DrawFn, window: Window) -> list[Occurrence]:
    terms: st.SearchStrategy = st.integers(-3, 6) if window.type in NUMERIC else st.sampled_from("xyz")
    if window.type == "impossible_travel":
        terms = st.sampled_from(TOWNS)
    found = []
    for number in range(draw(st.integers(0, 14))):
        time = draw(st.integers(0, 30))
        for rule in draw(st.lists(st.sampled_from(window.rules), min_size=1, max_size=2, unique=True)):
            values = tuple(draw(st.lists(terms, max_size=2, unique=True)))
            found.append(Occurrence(time, f"e{number:02d}", rule, values))
    return found


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_every_type_fires_exactly_where_the_definition_says(data: st.DataObject) -> None:
    window = data.draw(windows())
    history = data.draw(histories(window))
    shuffled = in_order(
        data.draw(st.permutations(history))
        if window.type not in ("value_count", "impossible_travel", *NUMERIC)
        else history
    )
    got = [(firing.time, shuffled[firing.position].id) for firing in firings(window, shuffled)]
    assert len(got) == len(set(got)), "an event fired twice"
    assert set(got) == reference(window, shuffled)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_called_monotone_is(data: st.DataObject) -> None:
    window = data.draw(windows().filter(lambda w: w.monotone and w.type != "value_sum"))
    history = data.draw(histories(window))
    late = data.draw(st.sampled_from(history)) if history else None
    without = in_order([o for o in history if late is None or o.id != late.id])
    whole = in_order(history)
    before = {(f.time, without[f.position].id) for f in firings(window, without)}
    after = {(f.time, whole[f.position].id) for f in firings(window, whole)}
    assert before <= after


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_nothing_outside_the_lookback_matters(data: st.DataObject) -> None:
    window = data.draw(windows())
    whole = in_order(data.draw(histories(window)))
    for firing in firings(window, whole):
        near = [o for o in whole if firing.time - window.lookback <= o.time <= firing.time]
        again = {(f.time, near[f.position].id) for f in firings(window, near)}
        assert (firing.time, whole[firing.position].id) in again


def _at(*seconds: float, rule: str = "a") -> list[Occurrence]:
    return [Occurrence(int(second * 1000), f"{rule}{number}", rule) for number, second in enumerate(seconds)]


TEN_IN_TEN_MINUTES = Window("event_count", 600_000, {"gte": 10}, ("a",))


def test_ten_failures_straddling_a_ten_minute_boundary_fire() -> None:
    # 10:05:30 to 10:14:30: five before and five after 10:10.
    history = _at(*range(330, 331 + 9 * 60, 60))
    assert [firing.position for firing in firings(TEN_IN_TEN_MINUTES, history)] == [9]


def test_nine_do_not() -> None:
    assert firings(TEN_IN_TEN_MINUTES, _at(*range(330, 331 + 8 * 60, 60))) == []


def test_a_window_is_closed_at_both_ends() -> None:
    window = Window("event_count", 600_000, {"gte": 2}, ("a",))
    assert firings(window, _at(0, 600))
    assert not firings(window, _at(0, 600.001))


def test_events_of_one_moment_are_judged_together() -> None:
    assert [firing.position for firing in firings(Window("event_count", 1000, {"gte": 3}), _at(5, 5, 5))] == [0, 1, 2]


def test_an_order_accepts_equal_times_and_refuses_the_wrong_one() -> None:
    window = Window("temporal_ordered", 60_000, rules=("a", "b"))
    assert firings(window, in_order(_at(1, rule="b") + _at(1, rule="a")))
    assert not firings(window, in_order(_at(1, rule="b") + _at(2, rule="a")))
    assert firings(window, in_order(_at(1, rule="a") + _at(2, rule="b")))


@pytest.mark.parametrize(
    ("expression", "present", "fires"),
    [
        (("and", ("ref", "a"), ("ref", "b")), "ab", True),
        (("and", ("ref", "a"), ("ref", "b")), "a", False),
        (("or", ("ref", "a"), ("ref", "b")), "b", True),
        (("and", ("ref", "a"), ("not", ("ref", "b"))), "a", True),
        (("and", ("ref", "a"), ("not", ("ref", "b"))), "ab", False),
    ],
)
def test_an_extended_temporal_condition_is_a_boolean_expression(expression: tuple, present: str, fires: bool) -> None:
    window = Window("temporal", 60_000, rules=("a", "b"), expression=expression)
    history = in_order([o for rule in present for o in _at(1, rule=rule)])
    assert bool(firings(window, history)) is fires


def test_an_extended_order_takes_either_branch() -> None:
    expression = ("and", ("or", ("ref", "a"), ("ref", "b")), ("ref", "c"))
    window = Window("temporal_ordered", 60_000, rules=RULES, expression=expression)
    assert firings(window, in_order(_at(1, rule="b") + _at(2, rule="c")))
    assert not firings(window, in_order(_at(1, rule="c") + _at(2, rule="b")))


@pytest.mark.parametrize(
    ("window", "monotone"),
    [
        (Window("event_count", 1, {"gte": 3}), True),
        (Window("event_count", 1, {"gte": 3, "lte": 9}), False),
        (Window("event_count", 1, {"eq": 3}), False),
        (Window("value_sum", 1, {"gt": 3}), True),
        (Window("value_avg", 1, {"gt": 3}), False),
        (Window("value_percentile", 1, {"gt": 3}), False),
        (Window("temporal", 1, rules=("a",)), True),
        (Window("temporal_ordered", 1, rules=("a",)), True),
        (Window("temporal", 1, expression=("not", ("ref", "a"))), False),
        (Window("new_terms", 0, baseline=5), False),
        (Window("spike", 1, {"gte": 3}, baseline=5), False),
        (Window("absence", 1), False),
        (Window("impossible_travel", 1, distance_km=1, speed_kmh=1), True),
    ],
)
def test_only_what_lateness_cannot_refute_fires_at_once(window: Window, monotone: bool) -> None:
    assert window.monotone is monotone
