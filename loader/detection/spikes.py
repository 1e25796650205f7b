"""Where spikes can be, and which events tell it: the rest of the baseline is enough as numbers. Pure.

Time is cut into bins as long as the window. How many events each bin has, the server can count. From that follows where
no spike can be, however the events lie inside their bins. For the bins that are left, only the events of the window and
those at the beginning of the baseline have to be known one by one: what lies between is a number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import accumulate

from loader.detection.window import Window, holds


def can_spike(window: Window, counts: Mapping[int, int]) -> set[int]:
    """Return the bins in which an event can fire; ``counts`` has the number of events of each bin, by its number.

    An event at t of bin n is judged by [t - span, t], which lies in the bins n - 1 and n, and by the mean over the
    baseline before. All of the bins that lie in the baseline whatever t is are certainly in it.
    """
    numbers = sorted(number for number, count in counts.items() if count)
    sums = [0, *accumulate(counts[number] for number in numbers)]
    growing = set(window.bounds) <= {"gt", "gte"}
    found: set[int] = set()
    for number in numbers:
        most = counts[number] + counts.get(number - 1, 0)
        if most < window.minimum:
            continue
        end = bisect_left(numbers, number - 1)
        # A baseline shorter than the window may have no such bin.
        certain = sums[end] - sums[min(end, bisect_left(numbers, _first_certain(window, number)))]
        # With nothing before it the ratio is infinite. Other bounds than lower ones are not reasoned about.
        if growing and certain and not holds(window.bounds, Fraction(most * window.baseline, certain * window.span)):
            continue
        found.add(number)
    return found


def needed(window: Window, bins: Iterable[int]) -> set[int]:
    """Return the bins whose events have to be known one by one, to judge events in ``bins``."""
    found: set[int] = set()
    for number in bins:
        found |= {number - 1, number}
        # The baseline of the first and of the last moment of the bin begins here and there.
        begin = (number * window.span - window.span - window.baseline) // window.span
        found |= set(range(begin, _first_certain(window, number)))
    return found


def _first_certain(window: Window, number: int) -> int:
    """Return the first bin that is in the baseline of each moment of bin ``number``."""
    last_begin = (number + 1) * window.span - 1 - window.span - window.baseline
    return -(-last_begin // window.span)
