"""Sigma's timespans (``15s``, ``10m``, ``1h``, ``28d``) as milliseconds, and back as words. Pure."""

from __future__ import annotations

import re
from typing import Any

from loader.errors import RuleError

#: Months and years as Sigma's tools count them.
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 2_629_746, "y": 31_556_952}
_FORM = re.compile(r"(\d+)([smhdwMy])")
_WORDS = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second"), (1, "millisecond"))


def milliseconds(value: Any, *, where: str | None = None) -> int:
    """Return a timespan (``28d``) or a number of seconds in milliseconds.

    Raises:
        RuleError: it is neither.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return int(value * 1000)
    if isinstance(value, str) and (match := _FORM.fullmatch(value.strip())):
        return int(match[1]) * _SECONDS[match[2]] * 1000
    raise RuleError(f"{value!r} is no timespan", where=where, hint="Write a number and one of s m h d w M y: 10m.")


def in_words(duration: int) -> str:
    """Return milliseconds in the largest unit that fits evenly: ``10 minutes``, ``1 day``."""
    for size, name in _WORDS:
        if duration >= size and duration % size == 0:
            count = duration // size
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    return f"{duration} milliseconds"
