"""Sigma's regular expressions (searched, PCRE-like) as Lucene's (whole value, no look-around, own operators).

What Lucene cannot say is widened, never narrowed, and the result says so: look-arounds and word boundaries are
dropped, a back-reference becomes its group's expression. ``\\d``, ``\\w`` and ``\\s`` are ASCII, as in PCRE. Python's
own parser reads the expression, the one pySigma validates it with.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from loader.detection.automaton import is_affordable
from loader.detection.lowercase import lower, variants
from loader.detection.lucene import ANY, escape_regexp, escape_wildcard
from loader.detection.unsupported import UnsupportedError

_LAST = 0x10FFFF
Ranges = tuple[tuple[int, int], ...]

_DIGIT: Ranges = ((48, 57),)
_WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Ranges = ((9, 13), (32, 32))
#: Wildcard patterns one expression may become, and repeats that are written out.
_MAX_WILDCARDS = 32
_MAX_REPEAT = 100
#: Sets of fewer characters are walked, larger ones compared with the table of letters that have case.
_SMALL = 1000


@dataclass(frozen=True, slots=True)
class Translated:
    """A Lucene expression; ``exact`` is false when it matches more than was asked."""

    value: str
    exact: bool


@dataclass(frozen=True)
class Expression:
    """One regular expression of a rule. ``flags`` are of ``i``, ``m``, ``s``.

    Raises:
        UnsupportedError: at construction, when the expression is not valid.
    """

    pattern: str
    flags: str = ""

    def __post_init__(self) -> None:
        _ = self._tree
        try:
            compile_search(self.pattern, self.flags)
        except (re.error, ValueError, RecursionError, OverflowError) as error:
            raise UnsupportedError(f"the regular expression is not valid: {error}") from None

    @cached_property
    def _tree(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return _parser().parse(self.pattern, _re_flags(self.flags))
            except (re.error, RecursionError, OverflowError) as error:
                raise UnsupportedError(f"the regular expression is not valid: {error}") from None

    @property
    def ignores_case(self) -> bool:
        """Say whether the whole expression ignores case."""
        return bool(self._tree.state.flags & re.IGNORECASE)

    def lucene(self, *, lowered: bool) -> Translated:
        """Return the expression for a ``regexp`` query on a field whose values are ``lowered`` or not.

        What no server would take, because it explodes when it is made deterministic, has its repeats widened.
        """
        for most in (_MAX_REPEAT, 5, 1):
            writer = _Writer(int(self._tree.state.flags), lowered, most)
            value = writer.sequence(list(self._tree), lead=True, trail=True)
            if is_affordable(value):
                return Translated(value, writer.exact)
        return Translated(ANY, exact=False)

    def wildcards(self) -> list[str]:
        """Return lower-case ``wildcard`` patterns of which one matches wherever the expression is found."""
        patterns = _Sketch(int(self._tree.state.flags)).sequence(list(self._tree))
        return list(dict.fromkeys(re.sub(r"\*{2,}", "*", f"*{pattern}*") for pattern in patterns))


@lru_cache(maxsize=4096)
def compile_search(pattern: str, flags: str) -> re.Pattern[str]:
    """Return Python's expression that decides (by ``search``) what :class:`Expression` means.

    With ``i`` it is to be searched in lower-case text (:func:`loader.detection.lowercase.lower`).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = re.compile(pattern, _re_flags(flags) | re.ASCII)
        if compiled.flags & re.IGNORECASE and not pattern.isascii():
            lowered = "".join(c if c.isascii() else lower(c) for c in pattern)
            compiled = re.compile(lowered, _re_flags(flags) | re.ASCII)
    return compiled


def _re_flags(flags: str) -> int:
    known = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
    return sum(int(known[flag]) for flag in set(flags))


def _parser() -> Any:
    return importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")


class _Writer:
    """Walks the parsed expression and writes Lucene's. ``exact`` turns false when something was widened."""

    def __init__(self, flags: int, lowered: bool, most: int = _MAX_REPEAT) -> None:
        self.flags = flags
        self.lowered = lowered
        #: Repeats beyond are written as unlimited.
        self.most = most
        self.exact = True
        self.groups: dict[int, list[Any]] = {}
        self.open: set[int] = set()

    def sequence(self, items: list[Any], *, lead: bool = False, trail: bool = False) -> str:
        """Write ``items``; with ``lead`` (``trail``) also what may stand before (after) the match in the value."""
        before, items, lead = self._edge(items, lead, "BEGINNING", 0)
        after, items, trail = self._edge(items, trail, "END", -1)
        parts = []
        for index, item in enumerate(items):
            parts.append(self._item(item, lead and index == 0, trail and index == len(items) - 1))
        if not items and lead and trail:
            return before + ANY + after
        text = (
            before + (ANY if lead and not items else "") + "".join(parts) + (ANY if trail and not items else "") + after
        )
        return text or "()"

    def _edge(self, items: list[Any], wanted: bool, side: str, at: int) -> tuple[str, list[Any], bool]:
        """Take anchors off one end. Return what to write there, the rest, and whether the rest must see to it."""
        if not wanted:
            return "", items, False
        anchors = []
        while items and _is_anchor(items[at], side):
            anchors.append(items[at][1])
            items = items[1:] if at == 0 else items[:-1]
        if anchors:
            return self._anchor(anchors, side), items, False
        if items and _anchored_inside(items[at], side) and str(items[at][0]) in ("SUBPATTERN", "BRANCH"):
            return "", items, True
        return (ANY, items, False)

    def _anchor(self, anchors: list[Any], side: str) -> str:
        absolute = any(str(anchor).endswith("_STRING") for anchor in anchors)
        if self.flags & re.MULTILINE and not absolute:
            return "(.*\n)?" if side == "BEGINNING" else "(\n.*)?"
        return "" if side == "BEGINNING" or absolute else "\n?"

    def _item(self, item: Any, lead: bool, trail: bool) -> str:
        kind, argument = str(item[0]), item[1]
        if kind == "LITERAL":
            return self._literal(argument)
        if kind in ("NOT_LITERAL", "IN", "ANY"):
            return self._set(item)
        if kind == "SUBPATTERN":
            return self._group(argument, lead, trail)
        if kind == "BRANCH":
            return "(" + "|".join(self.sequence(list(b), lead=lead, trail=trail) for b in argument[1]) + ")"
        if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            self.exact &= kind != "POSSESSIVE_REPEAT"
            return self._repeat(*argument)
        self.exact = False
        if kind == "ATOMIC_GROUP":
            return f"({self.sequence(list(argument))})"
        if kind == "GROUPREF":
            return self._reference(argument)
        if kind in ("AT", "ASSERT", "ASSERT_NOT"):
            return ""
        return ANY

    def _group(self, argument: Any, lead: bool, trail: bool) -> str:
        number, added, removed, content = argument
        if number is not None:
            self.groups[number] = list(content)
        saved = self.flags
        # Inside (?i:…) Python folds ASCII only; outside, the text is made lower case as the server does it.
        self.exact &= not (added | removed) & re.IGNORECASE
        self.flags = (saved | added) & ~removed
        text = self.sequence(list(content), lead=lead, trail=trail)
        self.flags = saved
        return f"({text})"

    def _reference(self, number: int) -> str:
        if number not in self.groups or number in self.open:
            return ANY
        self.open.add(number)
        text = self.sequence(self.groups[number])
        self.open.discard(number)
        return f"({text})"

    def _repeat(self, low: int, high: Any, content: Any) -> str:
        body = f"({self.sequence(list(content))})" if len(content) != 1 else self._item(content[0], False, False)
        unlimited = str(high) == "MAXREPEAT"
        if low > self.most or (not unlimited and high > self.most):
            self.exact = False
            low, unlimited = min(low, 1), True
        if not body:
            return ""
        if len(content) == 1 and str(content[0][0]) in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            body = f"({body})"
        if unlimited:
            return body + {0: "*", 1: "+"}.get(low, f"{{{low},}}")
        if (low, int(high)) == (1, 1):
            return body
        if (low, int(high)) == (0, 1):
            return f"{body}?"
        return body + (f"{{{low}}}" if low == int(high) else f"{{{low},{int(high)}}}")

    def _literal(self, point: int) -> str:
        character = chr(point)
        if character not in variants():
            return escape_regexp(character)
        if self.lowered:
            self.exact &= bool(self.flags & re.IGNORECASE)
            return escape_regexp(lower(character))
        if self.flags & re.IGNORECASE:
            return f"[{variants()[character]}]"
        return character

    def _set(self, item: Any) -> str:
        wanted = points_of(item, self.flags)
        if self.lowered and not self.flags & re.IGNORECASE:
            closed = closure(wanted)
            self.exact &= closed == wanted
            wanted = closed
        return _written(wanted, drop_upper=self.lowered)


class _Sketch:
    """Walks the parsed expression and keeps its literals: patterns for fields where ``regexp`` is not to be trusted."""

    def __init__(self, flags: int) -> None:
        self.flags = flags

    def sequence(self, items: Iterable[Any]) -> list[str]:
        patterns = [""]
        for item in items:
            options = self._item(item)
            if len(patterns) * len(options) > _MAX_WILDCARDS:
                options = ["*"]
            patterns = [pattern + option for pattern in patterns for option in options]
        return patterns

    def _item(self, item: Any) -> list[str]:
        kind, argument = str(item[0]), item[1]
        if kind == "LITERAL":
            character = lower(chr(argument))
            # Elasticsearch's wildcard fields ignore the case of ASCII letters only.
            return ["?" if not character.isascii() and character in variants() else escape_wildcard(character)]
        if kind in ("NOT_LITERAL", "IN", "ANY"):
            return ["?"]
        if kind == "SUBPATTERN":
            return self.sequence(argument[3])
        if kind == "ATOMIC_GROUP":
            return self.sequence(argument)
        if kind == "BRANCH":
            options = list(dict.fromkeys(pattern for branch in argument[1] for pattern in self.sequence(branch)))
            return options if len(options) <= _MAX_WILDCARDS else ["*"]
        if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            return self._repeat(*argument)
        return [""] if kind in ("AT", "ASSERT", "ASSERT_NOT") else ["*"]

    def _repeat(self, low: int, high: Any, content: Any) -> list[str]:
        once = self.sequence(content)
        if low == 0 or len(once) > 1:
            return ["*"]
        exactly = str(high) != "MAXREPEAT" and int(high) == low
        return [once[0] * min(low, 20) + ("" if exactly and low <= 20 else "*")]


def points_of(item: Any, flags: int) -> Ranges:
    """Return the code points one character-matching node of a parsed expression accepts."""
    kind, argument = str(item[0]), item[1]
    if kind == "ANY":
        return ((0, _LAST),) if flags & re.DOTALL else _complement(((10, 10),))
    members: Sequence[Any] = argument if kind == "IN" else [("LITERAL", argument)]
    negate = kind == "NOT_LITERAL" or (bool(members) and str(members[0][0]) == "NEGATE")
    ranges: list[tuple[int, int]] = []
    for name, value in members:
        if str(name) == "LITERAL":
            ranges.append((value, value))
        elif str(name) == "RANGE":
            ranges.append(value)
        elif str(name) == "CATEGORY":
            ranges += _category(str(value))
    found = _merged(ranges)
    if flags & re.IGNORECASE:
        found = closure(found)
    return _complement(found) if negate else found


def _category(name: str) -> Ranges:
    base = {"DIGIT": _DIGIT, "WORD": _WORD, "SPACE": _SPACE}[name.rsplit("_", 1)[-1]]
    return _complement(base) if "_NOT_" in name else base


@lru_cache(maxsize=1024)
def closure(ranges: Ranges) -> Ranges:
    """Return ``ranges`` with every other case of its letters."""
    known = variants()
    if sum(high - low for low, high in ranges) < _SMALL:
        members = [chr(point) for low, high in ranges for point in range(low, high + 1) if chr(point) in known]
    else:
        members = [member for member in known if _holds(ranges, ord(member))]
    added = {(ord(other), ord(other)) for member in members for other in known[member]}
    return _merged([*ranges, *added])


def _holds(ranges: Ranges, point: int) -> bool:
    return any(low <= point <= high for low, high in ranges)


def _merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _complement(ranges: Ranges) -> Ranges:
    gaps = []
    start = 0
    for low, high in _merged(ranges):
        if low > start:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        gaps.append((start, _LAST))
    return tuple(gaps)


def _written(ranges: Ranges, *, drop_upper: bool) -> str:
    if ranges == ((0, _LAST),):
        return "."
    if not ranges:
        return "#"  # Lucene's empty language
    negated = ranges[-1][1] == _LAST
    if negated:
        ranges = _complement(ranges)
    elif drop_upper and ranges[-1][1] < 128:
        ranges = tuple(r for low, high in ranges for r in _without_upper(low, high))
        if not ranges:
            return "#"
    if not negated and len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return escape_regexp(chr(ranges[0][0]))
    body = "".join(_in_class(low) if low == high else f"{_in_class(low)}-{_in_class(high)}" for low, high in ranges)
    return f"[{'^' if negated else ''}{body}]"


def _without_upper(low: int, high: int) -> list[tuple[int, int]]:
    return [(a, b) for a, b in ((low, min(high, 64)), (max(low, 91), high)) if a <= b]


def _in_class(point: int) -> str:
    character = chr(point)
    return (
        f"\\{character}"
        if point < 128 and not character.isalnum() and not character.isspace() and point > 32
        else character
    )


def _is_anchor(item: Any, side: str) -> bool:
    return str(item[0]) == "AT" and side in str(item[1]) and "BOUNDARY" not in str(item[1])


def _anchored_inside(item: Any, side: str) -> bool:
    kind, argument = str(item[0]), item[1]
    if kind == "AT":
        return _is_anchor(item, side)
    if kind == "SUBPATTERN":
        return any(_anchored_inside(inner, side) for inner in argument[3])
    if kind == "BRANCH":
        return any(_anchored_inside(inner, side) for branch in argument[1] for inner in branch)
    return False
