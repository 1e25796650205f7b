"""Time as an argument: whoever needs the wall clock or sleep takes a :class:`Clock`."""

from __future__ import annotations

import time
from datetime import date, datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """What the project needs of time."""

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back, for measuring durations."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def rfc3339(moment: datetime) -> str:
    """Return ``moment`` as ``2026-11-24T01:02:03.456Z`` (RFC 3339, UTC, milliseconds)."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def months_ahead(now: date, year: int, month: int) -> int:
    """Return how many months ``year`` and ``month`` are ahead of ``now``'s; months gone by are negative."""
    return (year - now.year) * 12 + month - now.month
