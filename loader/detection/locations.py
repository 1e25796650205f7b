"""Tell every condition of a parsed rule in which line it was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sigma.exceptions import SigmaRuleLocation
from sigma.rule import SigmaDetection

_Path = tuple[str | int, ...]


def locate(
    detection: SigmaDetection, written: Any, location: Callable[[_Path], SigmaRuleLocation], path: _Path = ()
) -> None:
    """Set the source of each item of ``detection``, which pySigma parsed from ``written``."""
    keys: list[str | int] = []
    if isinstance(written, Mapping):
        keys = [str(key) for key in written]
    elif isinstance(written, list) and all(isinstance(item, SigmaDetection) for item in detection.detection_items):
        keys = list(range(len(written)))
    for number, item in enumerate(detection.detection_items):
        here = (*path, keys[number]) if number < len(keys) else path
        if isinstance(item, SigmaDetection):
            locate(item, written[number], location, here)
        else:
            item.source = location(here)
