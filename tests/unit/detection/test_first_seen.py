"""What is kept of the past tells exactly what is new, in whatever order and however often it is told."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as some

from loader.detection.first_seen import MOST, Seen, bin_length, term_key
from loader.detection.window import Occurrence, Window, firings, in_order

_SIGHTS = some.lists(some.tuples(some.integers(0, 60), some.sampled_from("abc")), max_size=25)


def _new_by_window(sights: list[tuple[int, str]], baseline: int) -> set[tuple[str, int]]:
    """Return what the reference, which looks at every event, says."""
    window = Window("new_terms", 0, baseline=baseline)
    ordered = in_order([Occurrence(time, str(n), values=((term,),)) for n, (time, term) in enumerate(sights)])
    return {(term_key(term), firing.time) for firing in firings(window, ordered) for term in firing.news}


def _seen(sights: list[tuple[int, str]], length: int) -> Seen:
    seen = Seen(length)
    for time, term in sights:
        seen.add(term_key((term,)), time, time)
    return seen


@given(_SIGHTS, some.integers(1, 30), some.data())
def test_it_says_what_looking_at_every_event_says(
    sights: list[tuple[int, str]], baseline: int, data: some.DataObject
) -> None:
    length = data.draw(some.integers(1, baseline))
    assert _seen(sights, length).news(baseline) == _new_by_window(sights, baseline)


@given(_SIGHTS, some.data())
def test_parts_may_be_joined_in_any_order_and_more_than_once(
    sights: list[tuple[int, str]], data: some.DataObject
) -> None:
    length = data.draw(some.integers(1, 20))
    parts = data.draw(some.lists(some.lists(some.sampled_from(sights), max_size=10), max_size=4)) if sights else []
    joined = _seen(sights, length)
    for part in parts:
        joined = _seen(part, length).joined(joined)
    assert joined == _seen(sights, length)
    assert Seen.of(length, orjson.loads(orjson.dumps(joined.stored()))) == joined


def test_the_baseline_s_first_moment_counts_as_seen() -> None:
    day = 86_400_000
    for gap, new in ((28 * day, False), (28 * day + 1, True)):
        seen = Seen(bin_length(28 * day))
        seen.add("x", 5, 5)
        seen.add("x", 5 + gap, 5 + gap)
        assert (("x", 5 + gap) in seen.news(28 * day)) is new


def test_what_is_too_old_goes_and_what_reaches_into_the_time_kept_stays() -> None:
    seen = Seen(10)
    for time in (3, 12, 19, 25):
        seen.add("x", time, time)
    assert seen.since(15).stored() == {"x": [(12, 19), (25, 25)]}
    assert seen.last == 25
    assert Seen(10).last == 0


def test_of_too_many_values_the_newest_are_kept() -> None:
    seen = Seen(10)
    for number in range(MOST + 5):
        seen.add(f"agent {number}", number, number)
    kept = seen.since(0)
    assert len(kept.stored()) == MOST
    assert "agent 4" not in kept.stored()
    assert "agent 5" in kept.stored()


def test_keys_tell_values_apart_and_stay_short() -> None:
    assert len({term_key(term) for term in (("1",), (1,), (("bool", True),), ("true",), ("1", ""), ())}) == 6
    assert term_key((1.0,)) == term_key((1,))
    assert len(term_key(("x" * 30_000,))) < 40
    assert term_key(("x" * 30_000,)) != term_key(("x" * 30_001,))
