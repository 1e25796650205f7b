"""A well-formed CloudTrail file → raw records, in one go: what nearly every object is."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from loader.source.objects import Broken, Limits, Piece


class _LogFile(msgspec.Struct):
    Records: list[msgspec.Raw]


_decode_file = msgspec.json.Decoder(_LogFile).decode

#: Bytes of a refused stretch that its dead letter keeps.
RAW_KEPT = 1 * 2**20
#: What CloudTrail writes around the records of a file.
_AROUND = b'{"Records":[]}'
#: Content denser in commas than this is walked value by value: millions of tiny "records" in one list are a memory
#: bomb. (Real records have a comma every 40 bytes.)
_MIN_BYTES_A_COMMA = 20


def split_whole(buffer: bytearray, limits: Limits) -> Iterator[Piece | Broken] | None:
    """Split a file that is as CloudTrail writes it; ``None`` if it is anything else."""
    if buffer.count(b",") * _MIN_BYTES_A_COMMA > len(buffer):
        return None
    try:
        records = _decode_file(buffer).Records
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    # Nothing but the list may be in the file: a second one would hide the first, and so might anything around it.
    rest = len(buffer) - len(_AROUND) - sum(map(len, records)) - max(0, len(records) - 1)
    if rest and not buffer[-rest:].isspace():
        return None
    # One copy at a time: the list holds slices of the buffer, and all of them copied would be the object once more.
    return (
        Piece(number, bytes(record)) if len(record) <= limits.record else too_large(number, bytes(record), limits)
        for number, record in enumerate(records, 1)
    )


def too_large(number: int, raw: bytes | bytearray, limits: Limits, event_id: str | None = None) -> Broken:
    """Return the refusal of a record that is longer than allowed."""
    return Broken(number, "record_too_large", f"longer than {limits.record} bytes", bytes(raw[:RAW_KEPT]), event_id)
