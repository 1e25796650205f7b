"""How long the requests of this thread may still take: a function's time is up, a process has been asked to end.

One value for a thread instead of an argument of every call that may ask the cluster something: loading asks for ids,
writes documents, sessions, dead letters and the ledger, and none of these may outlast what called it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

_left: ContextVar[Callable[[], float]] = ContextVar("left", default=lambda: inf)


@contextmanager
def within(left: Callable[[], float]) -> Iterator[None]:
    """Let requests inside the ``with`` block take ``left()`` seconds at most, each time one is begun."""
    token = _left.set(left)
    try:
        yield
    finally:
        _left.reset(token)


def seconds_left() -> float:
    """Return the seconds that are left: infinite unless somebody has set a limit, negative when it has passed."""
    return _left.get()()
