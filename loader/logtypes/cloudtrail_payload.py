"""One payload of a record: what a document keeps of it, and what is looked up in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from loader.logtypes.cloudtrail_record import PAYLOADS, encode, is_plain
from loader.logtypes.leaves import MAX_LEVELS, OddPayloadError, decode_payload, walk_carefully, walk_plainly
from loader.logtypes.residue import may_hold_long_number

#: Payloads up to this length are remembered: calls that are made again and again look the same.
_REMEMBERED: Final = 320
_KEPT: Final = 4096

_INSTANCE: Final = re.compile(r"=(i-(?:[0-9a-f]{17}|[0-9a-f]{8}))\Z", re.ASCII)
_LONE_MINUS_ZERO: Final = re.compile(rb"[:\[,]-0[,\]}]|\A-0\Z")


class Payload(Struct, frozen=True, gc=False):
    """A payload, shared between documents: nothing in it is ever changed.

    ``stored`` is a member of ``aws.cloudtrail.flattened`` (``"name":json``). ``leaves`` are JSON strings with commas
    between. ``instances`` are the ids of EC2 instances among the values.
    """

    value: Any
    stored: bytes
    leaves: bytes
    instances: tuple[str, ...]


def leaves_json(leaves: Iterable[str]) -> bytes:
    """Return leaves as JSON strings with commas between."""
    return encode(list(leaves))[1:-1]


def instances_in(leaves: Iterable[str]) -> tuple[str, ...]:
    """Return the EC2 instances that are the value of a leaf."""
    return tuple([match.group(1) for leaf in leaves if "=i-" in leaf and (match := _INSTANCE.search(leaf))])


def _read(attribute: str, name: str, content: bytes) -> Payload:
    """Read a payload as the fast path does.

    Raises:
        OddPayloadError: the complete path must judge.
        msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError: so must it.
    """
    value = decode_payload(content)
    if not is_plain(value, content):
        _check_single(value, content)
    if may_hold_long_number(content):
        raise OddPayloadError
    leaves: list[str] = []
    plain_keys = b"=" not in content and b"\\" not in content
    (walk_plainly if plain_keys else walk_carefully)(value, name, leaves.append, MAX_LEVELS)
    return Payload(value, b'"%b":%b' % (attribute.encode(), content), leaves_json(leaves), instances_in(leaves))


def _check_single(value: Any, content: bytes) -> None:
    """Make sure that ``content`` differs from the shortest JSON for ``value`` by needless escapes only.

    Raises:
        OddPayloadError: there is white space, a doubled key, or the number ``-0``.
    """
    if msgspec.json.format(content, indent=-1) != content or b'\\\\":' in content or _LONE_MINUS_ZERO.search(content):
        raise OddPayloadError
    # Every key ends with `":`; inside a string the quote has a backslash before it. A value that begins with a colon
    # counts too, which only makes the complete path judge.
    if _keys(value) != content.count(b'":') - content.count(b'\\":'):
        raise OddPayloadError


def _keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum([_keys(inner) for inner in value.values()])
    return sum([_keys(inner) for inner in value]) if isinstance(value, list) else 0


def _reader(attribute: str, name: str) -> Callable[[bytes], Payload]:
    def read(content: bytes) -> Payload:
        return _read(attribute, name, content)

    remembered = lru_cache(maxsize=_KEPT)(read)

    def look_up(content: bytes) -> Payload:
        return remembered(content) if len(content) <= _REMEMBERED else read(content)

    return look_up


#: Attribute of a record, CloudTrail's name, and the function that reads the payload.
READERS: Final = tuple((attribute, name, _reader(attribute, name)) for attribute, name in PAYLOADS.items())
