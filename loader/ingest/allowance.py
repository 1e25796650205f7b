"""How long loading may go on: what stops is what is asked before each object, and what every request keeps to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final


@dataclass(frozen=True, slots=True)
class Allowance:
    """``may_begin`` tells whether another object may be begun, ``left`` the seconds for those that are in work."""

    may_begin: Callable[[], bool] = lambda: True
    left: Callable[[], float] = lambda: inf


#: As long as it takes.
ENDLESS: Final = Allowance()
