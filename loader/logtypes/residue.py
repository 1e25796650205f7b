"""JSON as a strict parser on the server takes it."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from loader.logtypes.leaves import MAX_LEVELS, Doubled, Number, is_deeper, number_text, pairs_of, survives

#: Readers that know only doubles refuse numbers that are none: the greatest has 309 digits. (And Jackson's
#: StreamReadConstraints refuse 1,000 characters for a number, 50,000 for a key.)
LONGEST_NUMBER: Final = 300
LONGEST_KEY: Final = 50_000
_LONG_NUMBER: Final = re.compile(rb"[\d.eE+-]{%d}" % (LONGEST_NUMBER + 1))

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


def stored(value: Any, raw: bytes) -> bytes:
    """Return ``raw`` (compact JSON of ``value``) as it goes into a document: as it is, or else in a JSON string."""
    return raw if _is_strict(value) and not is_deeper(raw, MAX_LEVELS) else quoted(raw)


def quoted(raw: bytes) -> bytes:
    """Return ``raw`` as a JSON string."""
    return _encode(raw.decode())


def may_hold_long_number(raw: bytes) -> bool:
    """Return whether JSON ``raw`` may hold a number that is too long for a strict parser."""
    return len(raw) > LONGEST_NUMBER and _LONG_NUMBER.search(raw) is not None


def _is_strict(value: Any) -> bool:
    """Return whether no key is doubled, no key or number too long, and no number more than a double.

    ``value`` is no deeper than Python's stack.
    """
    if isinstance(value, dict):
        return type(value) is not Doubled and all(
            len(key) <= LONGEST_KEY and (type(inner) is str or _is_strict(inner)) for key, inner in value.items()
        )
    if isinstance(value, list):
        return all(type(inner) is str or _is_strict(inner) for inner in value)
    if isinstance(value, bool) or not isinstance(value, (Number, Raw, int)):
        return True
    text = number_text(value)
    return len(text) <= LONGEST_NUMBER and (text.lstrip("-").isdigit() or survives(text))
