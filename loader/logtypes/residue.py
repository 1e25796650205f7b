"""What has no typed place in a document → JSON that any strict parser on the server takes."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from loader.logtypes.leaves import MAX_LEVELS, Doubled, Number, levels, pairs_of

#: Strict parsers refuse longer ones (Jackson's StreamReadConstraints: 1,000 for a number, 50,000 for a key).
_LONGEST_NUMBER: Final = 1000
_LONGEST_KEY: Final = 50_000

_encode: Final = msgspec.json.Encoder().encode


def write_json(value: Any) -> bytes:
    """Return ``value``, as :func:`~loader.logtypes.leaves.parse_exactly` gives it, as compact JSON."""
    if isinstance(value, dict):
        return b"{%b}" % b",".join([b"%b:%b" % (_encode(key), write_json(inner)) for key, inner in pairs_of(value)])
    if isinstance(value, list):
        return b"[%b]" % b",".join([write_json(inner) for inner in value])
    if isinstance(value, Number):
        return value.encode()
    return _encode(value)


def is_storable(value: Any, raw: bytes) -> bool:
    """Return whether a strict parser takes JSON ``raw``, whose value is ``value``, as it is."""
    return levels(raw) <= MAX_LEVELS and _is_plain(value)


def stored(value: Any, raw: bytes) -> Raw:
    """Return ``raw`` (compact JSON) as it goes into a document: as it is, or else as a JSON string that holds it."""
    return Raw(raw if is_storable(value, raw) else _encode(raw.decode()))


def _is_plain(value: Any) -> bool:
    """Return whether no key is doubled and no key or number too long. ``value`` is no deeper than Python's stack."""
    if isinstance(value, dict):
        return type(value) is not Doubled and all(
            len(key) <= _LONGEST_KEY and (type(inner) is str or _is_plain(inner)) for key, inner in value.items()
        )
    if isinstance(value, list):
        return all(type(inner) is str or _is_plain(inner) for inner in value)
    return not isinstance(value, Number) or len(value) <= _LONGEST_NUMBER


def quoted(text: str) -> Raw:
    """Return ``text`` as a JSON string."""
    return Raw(_encode(text))
