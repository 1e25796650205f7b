"""Work beside the main one goes on after an error, and ends with its block."""

from __future__ import annotations

import threading

from loader.background import Background

ENOUGH_S = 10.0


class Counting(Background):
    """Fails every other time."""

    def __init__(self, interval: float) -> None:
        super().__init__("count", interval=interval, patience=ENOUGH_S)
        self.done = 0
        self.seen = threading.Event()

    def once(self) -> None:
        self.done += 1
        if self.done >= 4:
            self.seen.set()
        if self.done % 2:
            raise ValueError("one that fails")


class Waiting(Background):
    """Works until it is told to stop."""

    def __init__(self) -> None:
        super().__init__("wait", interval=60, patience=ENOUGH_S)
        self.begun, self.ended = threading.Event(), False

    def once(self) -> None:
        self.begun.set()
        while not self.stopping():
            threading.Event().wait(0.01)
        self.ended = True


def test_an_error_does_not_end_it() -> None:
    work = Counting(0.001)
    with work:
        assert work.seen.wait(ENOUGH_S)
    done = work.done
    assert threading.Event().wait(0.05) is False
    assert work.done == done  # nothing after the block


def test_the_end_is_told_to_what_is_being_done_and_waits_for_it() -> None:
    work = Waiting()
    with work:
        assert work.begun.wait(ENOUGH_S)
        assert not work.ended
    assert work.ended


def test_the_end_does_not_wait_for_the_next_time() -> None:
    work = Counting(3600)
    with work:
        pass
    assert work.done <= 1
    assert work.stopping()
