"""One payload of a record: what a document keeps of it, and what is looked up in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from loader.logtypes.cloudtrail_record import PAYLOADS, encode
from loader.logtypes.leaves import (
    MAX_LEVELS,
    OddPayloadError,
    decode_payload,
    escape_key,
    walk_carefully,
    walk_plainly,
)
from loader.logtypes.remembered import Remembered
from loader.logtypes.residue import LONGEST_NUMBER, may_hold_long_number

#: Payloads up to this length are remembered: calls that are made again and again look the same.
_REMEMBERED: Final = 320
_KEPT: Final = 4096

#: As numbers: bytes are searched for those seven times as fast as for ``b"="``.
_EQUALS, _BACKSLASH = b"=\\"

_INSTANCE: Final = re.compile(r"=(i-(?:[0-9a-f]{17}|[0-9a-f]{8}))\Z", re.ASCII)
_LONE_MINUS_ZERO: Final = re.compile(rb"[:\[,]-0[,\]}]|\A-0\Z")
#: The keys that are looked up in payloads, see cloudtrail_build and cloudtrail_outcome.
_TELLING: Final = frozenset(
    {
        *("userName", "newUserName", "groupName", "user", "group", "codeSha256", "imageDigest", "errorCode", "_return"),
        *("sourceIpAddress",),
    }
)


class Payload(Struct, frozen=True, gc=False):
    """A payload, shared between documents: nothing in it is ever changed.

    ``stored`` is a member of ``aws.cloudtrail.flattened`` (``"name":json``). ``leaves`` are JSON strings with commas
    between. ``instances`` are the ids of EC2 instances among the values. ``telling`` says whether it is worth looking
    into for names, hashes and errors.
    """

    value: Any
    stored: bytes
    leaves: bytes
    instances: tuple[str, ...]
    telling: bool


#: The part for a payload that is missing.
ABSENT: Final = Payload(None, b"", b"", (), telling=False)


def make_payload(prefix: bytes, value: Any, stored: bytes, leaves: list[str]) -> Payload:
    """Return a payload; ``stored`` is its JSON in the document, ``prefix`` the name there (``"name":``)."""
    instances: tuple[str, ...] = ()
    if stored.find(b'"i-') >= 0:
        instances = tuple([match.group(1) for leaf in leaves if (match := _INSTANCE.search(leaf))])
    telling = isinstance(value, dict) and not _TELLING.isdisjoint(value)
    return Payload(value, prefix + stored, encode(leaves)[1:-1], instances, telling)


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
    """Return the function that reads the payload ``name`` as the fast path does.

    It raises :class:`OddPayloadError`, :class:`msgspec.MsgspecError`, UnicodeDecodeError, RecursionError or ValueError
    if the complete path must judge.
    """
    prefix = b'"%b":' % attribute.encode()
    remembered = Remembered[Payload](_KEPT)
    known = remembered.get

    def read(content: bytes) -> Payload:
        payload = known(content)
        if payload is None:
            payload = _read(prefix, name, content)
            if len(content) <= _REMEMBERED:
                remembered.keep(content, payload)
        return payload

    return read


def _read(prefix: bytes, name: str, content: bytes) -> Payload:
    value = decode_payload(content)
    if len(encode(value)) != len(content):
        _check_single(value, content)
    if len(content) > LONGEST_NUMBER and may_hold_long_number(content):
        raise OddPayloadError
    leaves: list[str] = []
    walk = walk_carefully if _EQUALS in content or _BACKSLASH in content else walk_plainly
    walk(value, name, leaves.append, MAX_LEVELS)
    return make_payload(prefix, value, content, leaves)


def read_unknown(key: str, content: bytes) -> Payload:
    """Read what stands under a key that is not known, as the readers do; it is stored under the key itself."""
    return _read(b"%b:" % encode(key), escape_key(key), content)


#: Attribute of a record → the function that reads the payload; in the order of :data:`PAYLOADS`.
READERS: Final = {attribute: _reader(attribute, name) for attribute, name in PAYLOADS.items()}
read_request: Final = READERS["request_parameters"]
read_response: Final = READERS["response_elements"]
read_additional: Final = READERS["additional_event_data"]
