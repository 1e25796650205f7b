r"""A JSON payload → its leaves, one ``path=value`` each (docs/adr/0002).

Payloads are decoded by :data:`decode_payload` (fast) or :func:`parse_exactly` (careful); both give dictionaries, lists,
strings, numbers, booleans and ``None``, and both walkers here list the same leaves for the same payload.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

#: A payload nested deeper is stored as a JSON string: a payload nested some hundreds deep can stop the search server.
MAX_LEVELS: Final = 19
#: Lucene's longest term, in bytes of UTF-8 (``IndexWriter.MAX_TERM_LENGTH``).
MAX_TERM_BYTES: Final = 32766
#: No text of this many characters or fewer can become a term that is too long, whatever lower case makes of it.
SAFE_LENGTH: Final = MAX_TERM_BYTES // 4

#: The characters whose lower case is longer in UTF-8, by one byte each (all of Unicode 16 was tried).
_GROWING: Final = re.compile("[\u023a\u023e]")
_NEGATIVE_ZERO: Final = re.compile(rb"[:\[,]-0[,\]}]|^-0$")
_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)


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
    """The payload is nothing for the fast walker: nested too deeply, or with the number ``-0``."""


class _ZeroError(Exception):
    """The fast walker met a zero; whether it is negative is lost by then."""


#: Bytes of JSON → Python values. Raises :class:`msgspec.MsgspecError`, RecursionError or UnicodeDecodeError.
decode_payload: Final = msgspec.json.Decoder(float_hook=Number).decode


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


def levels(raw: bytes) -> int:
    """Return how deeply JSON ``raw`` is nested: 0 for a scalar, 1 for ``{}``."""
    depth = deepest = 0
    for match in _BRACKET.finditer(raw):
        if match.lastindex == 1:
            depth += 1
            deepest = max(deepest, depth)
        elif match.lastindex == 2:
            depth -= 1
    return deepest


def escape_key(key: str) -> str:
    """Return a key as it stands in a leaf's path: a backslash before ``=`` and before a backslash."""
    return key.replace("\\", "\\\\").replace("=", "\\=")


def pairs_of(value: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return the members of a JSON object, doubled keys included."""
    return value.pairs if type(value) is Doubled else value.items()


def leaves_of(value: Any, path: str, raw: bytes) -> tuple[list[str], int]:
    """Return the leaves of ``value``, decoded from ``raw`` by :data:`decode_payload`, and the number of its keys.

    Raises:
        OddPayloadError: nested deeper than :data:`MAX_LEVELS`, or with the number ``-0``: use :func:`walk_carefully`.
    """
    leaves: list[str] = []
    if b"=" not in raw and b"\\" not in raw:
        try:
            return leaves, _walk(value, path, leaves.append, MAX_LEVELS)
        except _ZeroError:
            leaves.clear()
    if _NEGATIVE_ZERO.search(raw):
        raise OddPayloadError
    return leaves, walk_carefully(value, path, leaves.append, MAX_LEVELS)


def _walk(value: Any, path: str, out: Callable[[str], Any], room: int) -> int:  # noqa: C901 - the hot loop
    """Give the leaves of ``value`` to ``out`` and return the number of keys; no key needs an escape."""
    kind = type(value)
    if kind is dict:
        if not room:
            raise OddPayloadError
        if not value:
            out(f"{path}={{}}")
            return 0
        keys = len(value)
        for key, inner in value.items():
            if type(inner) is str:
                out(f"{path}.{key}={inner}")
            else:
                keys += _walk(inner, f"{path}.{key}", out, room - 1)
        return keys
    if kind is list:
        if not room:
            raise OddPayloadError
        if not value:
            out(f"{path}=[]")
        return sum([_walk(inner, path, out, room - 1) for inner in value])
    if value is None:
        out(path)
    elif value is True:
        out(f"{path}=true")
    elif value is False:
        out(f"{path}=false")
    elif value == 0:
        raise _ZeroError
    else:
        out(f"{path}={value}")
    return 0


def walk_carefully(value: Any, path: str, out: Callable[[str], Any], room: int) -> int:
    """Give the leaves of any ``value`` to ``out`` and return the number of keys. ``room`` is the levels allowed.

    Raises:
        OddPayloadError: nested deeper than ``room``.
    """
    if isinstance(value, dict):
        if not room:
            raise OddPayloadError
        if not value:
            out(f"{path}={{}}")
            return 0
        keys = 0
        for key, inner in pairs_of(value):
            # A path longer than a term is cut already: copying it for each leaf below would cost without end.
            keys += 1 + walk_carefully(inner, f"{path}.{escape_key(key)}"[:MAX_TERM_BYTES], out, room - 1)
        return keys
    if isinstance(value, list):
        if not room:
            raise OddPayloadError
        if not value:
            out(f"{path}=[]")
        return sum([walk_carefully(inner, path, out, room - 1) for inner in value])
    if value is None:
        out(path)
    elif isinstance(value, bool):
        out(f"{path}=true" if value else f"{path}=false")
    else:
        out(f"{path}={value}")
    return 0


def fit_term(leaf: str) -> str:
    """Return ``leaf``, cut at a character so that its lower case is no longer than :data:`MAX_TERM_BYTES`."""
    if len(leaf) <= SAFE_LENGTH:
        return leaf
    while (excess := len(leaf.encode()) + len(_GROWING.findall(leaf)) - MAX_TERM_BYTES) > 0:
        leaf = leaf[: len(leaf) - max(1, excess // 4)]
    return leaf
