r"""A JSON payload → its leaves, one ``path=value`` each (docs/adr/0002).

Payloads are decoded by :data:`decode_payload` (fast) or :func:`parse_exactly` (careful). Both give dictionaries, lists,
strings, numbers, booleans and ``None``, and both walkers here list the same leaves for the same payload.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any, Final

import msgspec
from msgspec import Raw

#: A payload nested deeper is stored as a JSON string: a payload nested some hundreds deep can stop the search server.
MAX_LEVELS: Final = 19
#: Lucene's longest term, in bytes of UTF-8 (``IndexWriter.MAX_TERM_LENGTH``).
MAX_TERM_BYTES: Final = 32766
#: No text of this many characters or fewer can become a term that is too long, whatever lower case makes of it.
SAFE_LENGTH: Final = MAX_TERM_BYTES // 4

#: The characters whose lower case is longer in UTF-8, by one byte each (all of Unicode 16 was tried).
_GROWING: Final = re.compile("[\u023a\u023e]")
#: A double holds any number of so many digits (``DBL_DIG``); sign and point come on top.
_SAFE_DIGITS: Final = 15
_BRACKET: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|([\[{])|([\]}])', re.DOTALL)


class Number(str):
    """A number, as the text it has in the record: no precision is lost."""

    __slots__ = ()


class Doubled(dict[str, Any]):
    """A JSON object in which a key occurs twice. As a dictionary it holds the last values; ``pairs`` holds all."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


class OddPayloadError(Exception):
    """What is read is nothing for the fast path."""


#: What is raised by reading a part of a record the quick way, if it must be read carefully.
UNUSUAL: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OddPayloadError)


def survives(text: str) -> bool:
    """Return whether a JSON number with a fraction or an exponent is the same number after it was a double.

    The server writes the source of a document anew, and such numbers as doubles; whole numbers it keeps as they are.
    """
    if len(text) <= _SAFE_DIGITS and "e" not in text and "E" not in text:
        return True
    number = float(text)
    try:
        return isfinite(number) and Decimal(text) == Decimal(repr(number))
    except InvalidOperation:
        return False


def _keep_text(text: str) -> Raw:
    if not survives(text):
        raise OddPayloadError
    return Raw(text)


#: Bytes of JSON → Python values; numbers with a fraction or an exponent stay as they are written.
#: Raises one of :data:`UNUSUAL`, also for a number that no double holds.
decode_payload: Final = msgspec.json.Decoder(float_hook=_keep_text).decode


def parse_exactly(text: str) -> Any:
    """Return the value of JSON ``text`` with every number's own text and every doubled key.

    Raises:
        ValueError: not JSON.
        RecursionError: nested deeper than Python's stack.
    """
    return json.loads(
        text, object_pairs_hook=_members, parse_int=Number, parse_float=Number, parse_constant=_reject_constant
    )


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Doubled(pairs)


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def is_deeper(raw: bytes, levels: int) -> bool:
    """Return whether JSON ``raw`` is nested deeper than ``levels``; a scalar has none, ``{}`` has one."""
    if raw.count(b"{") + raw.count(b"[") <= levels:
        return False
    depth = 0
    for match in _BRACKET.finditer(raw):
        if match.lastindex == 1:
            depth += 1
            if depth > levels:
                return True
        elif match.lastindex == 2:
            depth -= 1
    return False


def escape_key(key: str) -> str:
    """Return a key as it stands in a leaf's path: a backslash before ``=`` and before a backslash."""
    return key.replace("\\", "\\\\").replace("=", "\\=")


def pairs_of(value: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return the members of a JSON object, doubled keys included."""
    return value.pairs if type(value) is Doubled else value.items()


def number_text(value: Any) -> str:
    """Return the text of a decoded number."""
    return bytes(value).decode() if isinstance(value, Raw) else str(value)


def walk_plainly(value: Any, path: str, out: Callable[[str], Any], room: int) -> None:
    """Give the leaves of ``value`` to ``out``; no key may need an escape. ``room`` is the levels allowed.

    Raises:
        OddPayloadError: nested deeper than ``room``.
    """
    kind = type(value)
    if kind is dict and value:
        if not room:
            raise OddPayloadError
        for key, inner in value.items():
            kind = type(inner)
            if kind is str or kind is int:
                out(f"{path}.{key}={inner}")
            else:
                walk_plainly(inner, f"{path}.{key}", out, room - 1)
    elif kind is list and value:
        if not room:
            raise OddPayloadError
        for inner in value:
            if type(inner) is str:
                out(f"{path}={inner}")
            else:
                walk_plainly(inner, path, out, room - 1)
    else:
        out(_scalar_leaf(value, path, room))


def walk_carefully(value: Any, path: str, out: Callable[[str], Any], room: int) -> None:
    """Give the leaves of any ``value`` to ``out``. ``room`` is the levels allowed.

    Raises:
        OddPayloadError: nested deeper than ``room``.
    """
    if isinstance(value, dict) and value:
        if not room:
            raise OddPayloadError
        for key, inner in pairs_of(value):
            # A path longer than a term is cut already: copying it for each leaf below would cost without end.
            walk_carefully(inner, f"{path}.{escape_key(key)}"[:MAX_TERM_BYTES], out, room - 1)
    elif isinstance(value, list) and value:
        if not room:
            raise OddPayloadError
        for inner in value:
            walk_carefully(inner, path, out, room - 1)
    else:
        out(_scalar_leaf(value, path, room))


def _scalar_leaf(value: Any, path: str, room: int) -> str:
    """Return the leaf of what has nothing below it."""
    if value is None:
        return path
    if value is True:
        return f"{path}=true"
    if value is False:
        return f"{path}=false"
    if isinstance(value, (dict, list)):
        if not room:
            raise OddPayloadError
        return f"{path}={{}}" if isinstance(value, dict) else f"{path}=[]"
    return f"{path}={number_text(value)}"


def fit_term(leaf: str) -> str:
    """Return ``leaf``, cut at a character so that its lower case is no longer than :data:`MAX_TERM_BYTES`."""
    if len(leaf) <= SAFE_LENGTH:
        return leaf
    while (excess := len(leaf.encode()) + len(_GROWING.findall(leaf)) - MAX_TERM_BYTES) > 0:
        leaf = leaf[: len(leaf) - max(1, excess // 4)]
    return leaf


class _FullError(Exception):
    """The leaves take more room than they may."""


class Leaves:
    """Collects the leaves of a record that is too short for any of them to be too long."""

    def __init__(self) -> None:
        self.found: list[str] = []

    @property
    def size(self) -> int:
        """Return the number of characters of all leaves together."""
        return sum(map(len, self.found))

    def take(self, leaf: str) -> None:
        """Take a leaf."""
        self.found.append(leaf)

    def walk(self, value: Any, path: str, levels: int) -> None:
        """Take the leaves of ``value``, which is nested no deeper than ``levels``."""
        walk_carefully(value, path, self.found.append, levels)


class CuttingLeaves(Leaves):
    """Collects leaves; cuts those that are too long for a term, and stops when there are too many.

    ``room`` is the number of bytes that all leaves may have together. ``cut`` names what was cut, once each.
    """

    #: A path that is itself too long to be named.
    ALL: Final = "aws.cloudtrail.leaves"

    def __init__(self, room: int) -> None:
        super().__init__()
        self.cut: dict[str, None] = {}
        self._room = room

    def take(self, leaf: str) -> None:
        """Take a leaf, if there is room."""
        with suppress(_FullError):
            self._add(leaf)

    def walk(self, value: Any, path: str, levels: int) -> None:
        """Take the leaves of ``value``, as far as there is room."""
        with suppress(_FullError):
            walk_carefully(value, path, self._add, levels)

    def _add(self, leaf: str) -> None:
        if self._room < 0:
            raise _FullError
        fitting = fit_term(leaf)
        if fitting is not leaf:
            path = leaf.partition("=")[0]
            self.cut[path if len(path) <= 1024 else self.ALL] = None
        self._room -= len(fitting) if fitting.isascii() else len(fitting.encode())
        if self._room < 0:
            self.cut[self.ALL] = None
            raise _FullError
        self.found.append(fitting)
