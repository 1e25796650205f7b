"""Which requests go wrong, and how: a seeded schedule with a budget."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

#: Faults by kind of request; the same name twice makes a fault twice as likely.
FAULTS: dict[str, tuple[str, ...]] = {
    # The node's bulk requests: documents and dead letters.
    "bulk": (
        "busy_429",
        "busy_503",
        "gateway_502_html",
        "partial_429",
        "partial_429",
        "drop_before",
        "drop_after",
        "cut_answer",
        "delay",
        "late_answer",
        "stall",
    ),
    # Everything else that is asked of the node: does the index exist, the ledger, ping.
    "node": ("busy_429", "busy_503", "drop_before", "drop_after", "delay"),
    "s3": ("busy_503", "error_500", "cut_answer", "cut_answer", "drop_before", "delay"),
    "sqs": ("busy_503", "error_500", "drop_before", "drop_after", "delay"),
}

#: Every loaded object asks the queue several times: at the same rate, most faults would be the queue's.
_SHARE = {"bulk": 1.0, "node": 0.6, "s3": 1.0, "sqs": 0.35}
#: So often in a row at most does one kind of request fail: a schedule tests recovery, not a place that never answers.
_MAX_IN_A_ROW = 6


class Schedule:
    """Decides for each request whether it fails. Safe between threads.

    The same seed gives the same sequence of decisions for each kind of request; which request meets which decision
    depends on how the workers happen to run, as it does in production.
    """

    def __init__(self, seed: int, *, budget: int, rate: float) -> None:
        self.budget = budget
        self.done: Counter[str] = Counter()
        self._rate = rate
        self._dice = {kind: random.Random(f"{seed}-{kind}") for kind in FAULTS}
        self._row: Counter[str] = Counter()
        self._stalls = 0
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """Faults so far, those of the harness (:meth:`count`) included."""
        return sum(self.done.values())

    @property
    def spent(self) -> bool:
        return self.total >= self.budget

    def count(self, fault: str) -> None:
        """Count a fault that the harness made itself."""
        with self._lock:
            self.done[fault] += 1

    def decide(self, kind: str) -> str | None:
        """Return the fault for the next request of this kind, or ``None``."""
        with self._lock:
            dice = self._dice[kind]
            fails, fault = dice.random() < self._rate * _SHARE[kind], dice.choice(FAULTS[kind])
            if not fails or sum(self.done.values()) >= self.budget or self._row[kind] >= _MAX_IN_A_ROW:
                self._row[kind] = 0
                return None
            self._row[kind] += 1
            self.done[f"{kind}: {fault}"] += 1
            return fault

    @contextmanager
    def stall(self) -> Iterator[None]:
        """Mark that a request is held back: as long as it is, no message's visibility can be extended."""
        with self._lock:
            self._stalls += 1
        try:
            yield
        finally:
            with self._lock:
                self._stalls -= 1

    @property
    def stalled(self) -> bool:
        return self._stalls > 0

    def random(self, kind: str) -> float:
        """Return a number from 0 to 1 for the details of a fault."""
        with self._lock:
            return self._dice[kind].random()
