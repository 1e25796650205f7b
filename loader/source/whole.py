"""A well-formed CloudTrail file → raw records, in one go: what nearly every object is."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from loader.source.envelope import MIN_BYTES_A_COMMA, RECORD, Found, records_in
from loader.source.objects import Broken, Limits, Piece


class _LogFile(msgspec.Struct):
    Records: list[msgspec.Raw]


_decode_file = msgspec.json.Decoder(_LogFile).decode

#: Bytes of a refused stretch that its dead letter keeps.
RAW_KEPT = 1 * 2**20
#: What CloudTrail writes around the records of a file.
_AROUND = b'{"Records":[]}'


def split_whole(buffer: bytearray, limits: Limits) -> Iterator[Piece | Broken] | None:
    """Split a file that is as CloudTrail writes it; ``None`` if it is anything else."""
    if buffer.count(b",") * MIN_BYTES_A_COMMA > len(buffer):
        return None
    try:
        records = _decode_file(buffer).Records
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    # Nothing but the list may be in the file: a second one would hide the first, and so might anything around it.
    rest = len(buffer) - len(_AROUND) - sum(map(len, records)) - max(0, len(records) - 1)
    if rest and not buffer[-rest:].isspace():
        return None
    return _pieces(records, limits)


def _pieces(records: list[msgspec.Raw], limits: Limits) -> Iterator[Piece | Broken]:
    # One copy at a time: the list holds slices of the buffer, and all of them copied would be the object once more.
    number = 0
    for record in records:
        raw = bytes(record)
        if raw.startswith(RECORD) and len(raw) <= limits.record:
            number += 1
            yield Piece(number, raw)
            continue
        for found in records_in(raw, alone=False):
            number += 1
            yield numbered(number, found, limits)


def numbered(number: int, found: Found, limits: Limits) -> Piece | Broken:
    """Return what was found in a value as a piece of the object; refuse a record that is longer than allowed."""
    if found.kind:
        cut = len(found.raw) > RAW_KEPT
        return Broken(number, found.kind, found.message, found.raw[:RAW_KEPT], found.event_id, cut=cut)
    if len(found.raw) > limits.record:
        return too_large(number, found.raw, limits, found.event_id)
    return Piece(number, found.raw, found.event_id)


def too_large(number: int, raw: bytes | bytearray, limits: Limits, event_id: str | None = None) -> Broken:
    """Return the refusal of a record that is longer than allowed, given its beginning or all of it."""
    message = f"longer than {limits.record} bytes"
    return Broken(number, "record_too_large", message, bytes(raw[:RAW_KEPT]), event_id, cut=True)
