"""Where spikes can be is told from counts: nothing is missed, and what is left out as events is enough as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from loader.detection.spikes import can_spike, needed
from loader.detection.window import Occurrence, Window, firings, in_order

WINDOWS = st.builds(
    lambda span, baseline, minimum, name, bound: Window(
        "spike", span, {name: bound}, baseline=baseline, minimum=minimum
    ),
    st.integers(1, 12),
    st.integers(1, 60),
    st.integers(1, 4),
    st.sampled_from(("gte", "gt", "lte", "lt")),
    st.floats(0.25, 6),
)
TIMES = st.lists(st.integers(-50, 150), max_size=60)


def events(times: Sequence[int]) -> list[Occurrence]:
    return in_order([Occurrence(time, str(number)) for number, time in enumerate(times)])


@settings(max_examples=1000)
@given(WINDOWS, TIMES)
def test_every_firing_is_in_a_bin_where_one_can_be(window: Window, times: list[int]) -> None:
    likely = can_spike(window, Counter(time // window.span for time in times))
    assert {firing.time // window.span for firing in firings(window, events(times))} <= likely


@settings(max_examples=1000)
@given(WINDOWS, TIMES)
def test_numbers_in_place_of_events_give_the_same_firings(window: Window, times: list[int]) -> None:
    counts = Counter(time // window.span for time in times)
    likely = can_spike(window, counts)
    known = needed(window, likely)
    whole = events(times)
    numbers = [
        Occurrence(number * window.span, f"bin {number}", events=count)
        for number, count in counts.items()
        if number not in known
    ]
    partly = in_order([*numbers, *(event for event in whole if event.time // window.span in known)])

    def told(ordered: Sequence[Occurrence]) -> list[tuple[str, float, float | None]]:
        found = firings(window, ordered)
        return [
            (ordered[one.position].id, float(one.measure), one.expected)
            for one in found
            if one.time // window.span in likely
        ]

    assert told(partly) == told(whole)


def test_an_even_flow_leaves_nothing_to_read() -> None:
    window = Window("spike", 10, {"gte": 3}, baseline=100, minimum=5)
    assert can_spike(window, dict.fromkeys(range(-20, 40), 8)) & set(range(40)) == set()


def test_a_burst_is_read_with_its_window_and_the_edge_of_its_baseline_only() -> None:
    window = Window("spike", 10, {"gte": 3}, baseline=100, minimum=5)
    counts = dict.fromkeys(range(-20, 40), 8) | {30: 60}
    assert can_spike(window, counts) & set(range(40)) == {30, 31}
    assert needed(window, {30}) == {19, 29, 30}
