"""Tell every condition of a parsed rule in which line it was written, and which one it is that pySigma refuses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from sigma.exceptions import SigmaConditionError, SigmaError, SigmaModifierError, SigmaRuleLocation
from sigma.modifiers import modifier_mapping
from sigma.rule import SigmaDetection, SigmaDetectionItem

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


def culprit(detection: Mapping[str, Any], error: Exception) -> _Path:
    """Return the way to what pySigma refused with ``error``, which does not say where it was."""
    if isinstance(error, SigmaConditionError):
        return ("condition",)
    for path, key, value in _items(detection):
        try:
            SigmaDetectionItem.from_mapping(key, value)
        except (SigmaError, ValueError, TypeError, KeyError):
            return path
    return ()


def advice(detection: Mapping[str, Any], error: Exception) -> str | None:
    """Return what to do about ``error``, where that can be told."""
    text = str(error.args[0]) if error.args else ""
    if isinstance(error, SigmaConditionError):
        if "pipe" in text:
            return "Make it a rule and a correlation over it (event_count, value_count, temporal): rules/STYLE.md."
        known = [name for name in detection if isinstance(name, str) and name != "condition"]
        return _did_you_mean(text, known)
    if isinstance(error, SigmaModifierError):
        return _did_you_mean(text, list(modifier_mapping))
    return None


def _did_you_mean(text: str, known: list[str]) -> str | None:
    named = re.findall(r"'([^']+)'", text)
    close = get_close_matches(named[0], known, n=2) if named else []
    return f"Did you mean {' or '.join(close)}?" if close else None


def _items(written: Any, path: _Path = ()) -> Iterator[tuple[_Path, str, Any]]:
    """Yield every ``field|modifier: value`` of a detection with the way to it."""
    if isinstance(written, Mapping):
        for key, value in written.items():
            if not path or isinstance(value, Mapping) or _holds_maps(value):
                yield from _items(value, (*path, str(key)))
            else:
                yield (*path, str(key)), str(key), value
    elif isinstance(written, list):
        for number, value in enumerate(written):
            if isinstance(value, Mapping):
                yield from _items(value, (*path, number))


def _holds_maps(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, Mapping) for one in value)
