"""Small objects are fetched before their turn: in any order, each once, and with the errors of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from loader.source.ahead import FetchAhead
from loader.source.objects import FetchError, ObjectRef

SMALL = [ObjectRef("b", str(number), size=10) for number in range(20)]


class Store:
    """Gives each object its key; waits until ``together`` requests are there at the same time."""

    def __init__(self, together: int = 1) -> None:
        self.asked: list[str] = []
        self.errors: dict[str, Exception] = {}
        self._together = threading.Barrier(together, timeout=60) if together > 1 else None

    def __call__(self, ref: ObjectRef) -> Iterator[bytes]:
        self.asked.append(ref.key)
        if self._together is not None:
            self._together.wait()
        if ref.key in self.errors:
            raise self.errors[ref.key]
        yield from (ref.key.encode(), b"!")


def test_small_objects_come_at_the_same_time() -> None:
    store = Store(together=4)
    with FetchAhead(store).started(SMALL) as fetch:
        assert [b"".join(fetch(ref)) for ref in SMALL] == [ref.key.encode() + b"!" for ref in SMALL]
    assert sorted(store.asked) == sorted(ref.key for ref in SMALL)


@pytest.mark.parametrize("size", [None, 2**30])
def test_what_is_not_known_to_be_small_waits_for_its_turn(size: int | None) -> None:
    store = Store()
    large = [ObjectRef("b", f"large{number}", size=size) for number in range(3)]
    with FetchAhead(store).started([*large, *SMALL[:1]]) as fetch:
        assert store.asked == []
        assert b"".join(fetch(large[0])) == b"large0!"
        assert store.asked == ["large0"]


def test_an_error_is_told_when_its_object_is_asked_for() -> None:
    store = Store()
    store.errors["1"] = FetchError("gone", kind="missing")
    with FetchAhead(store).started(SMALL[:3]) as fetch:
        assert b"".join(fetch(SMALL[0])) == b"0!"
        with pytest.raises(FetchError, match="gone"):
            b"".join(fetch(SMALL[1]))
        assert b"".join(fetch(SMALL[2])) == b"2!"


def test_an_object_that_is_larger_than_was_said_is_streamed() -> None:
    chunk = b"x" * 2**19

    def fetch_large(_: ObjectRef) -> Iterator[bytes]:
        yield from [chunk] * 10

    with FetchAhead(fetch_large).started(SMALL[:2]) as fetch:
        assert sum(map(len, fetch(SMALL[0]))) == 10 * len(chunk)


def test_an_object_that_is_named_twice_comes_twice() -> None:
    store = Store()
    with FetchAhead(store).started([SMALL[0], SMALL[0], SMALL[1]]) as fetch:
        assert [b"".join(fetch(ref)) for ref in (SMALL[0], SMALL[0], SMALL[1])] == [b"0!", b"0!", b"1!"]


def test_what_nobody_asks_for_any_more_is_let_go() -> None:
    store = Store()
    with FetchAhead(store).started(SMALL) as fetch:
        b"".join(fetch(SMALL[0]))
    assert len(store.asked) <= 9
