"""Any content that may hold records → raw records, value by value: what is not whole, not one list, or too large."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from loader.errors import SourceError
from loader.source.decompress import TrailingDataError
from loader.source.envelope import WRAPPER, bridged, unbridged, unwrap
from loader.source.objects import Broken, FetchError, Limits, Piece
from loader.source.scan import DenseError, Walk, is_dense, skip_commas, skip_space, value_end
from loader.source.whole import RAW_KEPT, too_large

_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_FILE_HEAD = re.compile(rb'\{\s*"Records"\s*:\s*\[')
#: Where the next record begins after one that cannot be read. Quotes inside a string are escaped: this is never inside.
_NEXT_RECORD = re.compile(rb'(?:,\s*|\n[ \t\r]*)(?=\{\s*"eventVersion"\s*:)')
_RECORD_WITHIN = re.compile(rb'(?:,\s*|\n[ \t\r]*)?(?=\{\s*"eventVersion"\s*:)')
#: CloudWatch Logs' export to S3 writes each event's time before it.
#: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/S3ExportTasks.html
_EXPORT_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z[ \t]+(?=\{)")
#: A top-level object with one of these keys is a record by itself.
_RECORD_KEYS = frozenset({"eventName", "eventSource", "eventTime", "eventID"})
#: Longer than anything ``_NEXT_RECORD`` matches in a file that a machine wrote.
_BOUNDARY_BYTES = 64
#: Where another value may begin after text that is no JSON: at the start of a line.
_NEXT_LINE = re.compile(rb"\n(?=\s*[{\[])")
#: A value that is shorter is cheap, however dense it is: the number of bad records is limited elsewhere.
_DENSE_BYTES = 2**10
#: Dense content that is walked in one object before it is given up.
_MOST_DENSE_BYTES = 3 * 2**20
_MOST_EMPTY_LISTS = 10_000


class Splitter:
    """Walks the content value by value, with at most one record and one chunk in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._data = bytearray()
        self._position = 0
        self._seen = 0
        self._number = 0
        self._inside = False
        #: Open brackets around the list of records: 1 in CloudTrail's form, 0 for a bare array.
        self._around = 0
        self._after = False
        self._skipping = False
        self._valid = False
        self._ended = False
        #: The walk through the value at ``_position``, if it has not come whole.
        self._walk: Walk | None = None
        #: Whether a wrapper was begun, and the closing braces of the one whose record was read.
        self._wrapped, self._owed = False, 0
        self._dense = 0
        #: Lists in a row that were begun without a value since.
        self._empty_lists, self._before_list = 0, 0

    def run(self, head: bytearray, content: Iterator[bytes], trouble: SourceError | None) -> Iterator[Piece | Broken]:
        """Yield the pieces of ``head`` and then of ``content``; ``trouble`` is an error already met behind ``head``."""
        self._data, self._seen = head, len(head)
        while True:
            yield from self._values()
            if self._ended:
                break
            if trouble is None:
                try:
                    trouble = self._more(content)
                except FetchError:
                    raise
                except SourceError as error:
                    trouble = error
            else:
                self._ended = True
        yield from self._finish(trouble)

    def _more(self, content: Iterator[bytes]) -> SourceError | None:
        del self._data[: self._position]
        self._position = 0
        chunk = next(content, None)
        if chunk is None:
            self._ended = True
            return None
        self._data += chunk
        self._seen += len(chunk)
        if self._seen > self._limits.total:
            return SourceError(f"more than {self._limits.total} bytes of content", kind="object_too_large")
        return None

    def _values(self) -> Iterator[Piece | Broken]:
        """Yield what is complete in the buffer."""
        while True:
            self._position = skip_space(self._data, self._position)
            if self._position >= len(self._data):
                return
            before = self._position
            if self._skipping:
                self._skip_to_next()
            elif self._after:
                yield from self._rest_of_object()
            elif self._inside:
                yield from self._element()
            else:
                yield from self._top()
            if self._position == before:
                return

    def _rest_of_object(self) -> Iterator[Piece | Broken]:
        """Pass over the keys after ``Records``: they hold no records."""
        try:
            end = value_end(self._data, self._position, depth=self._around)
        except DenseError:
            yield self._give_up_dense()
            return
        if end is not None:
            yield from self._later_keys(end)
        elif len(self._data) - self._position > self._limits.record:
            message = f"more than {self._limits.record} bytes follow the list of records; the rest was not read"
            yield self._broken("not_json", message, len(self._data))
            self._ended, self._after = True, False

    def _later_keys(self, end: int) -> Iterator[Piece | Broken]:
        rest = bytes(self._data[self._position : end])
        try:
            keys = _decode_keys(b'{"":0' + rest)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            # The list did not end here: a bracket too many inside of it, and records behind it.
            boundary = _NEXT_RECORD.search(self._data, self._position, end)
            until = boundary.start() if boundary else end
            yield self._broken("invalid_json", "what follows the list of records is no JSON", until)
            self._after, self._inside = False, boundary is not None
            return
        self._position, self._after = end, False
        if "Records" in keys:
            yield from self._listed(keys["Records"])

    def _top(self) -> Iterator[Piece | Broken]:
        head = _FILE_HEAD.match(self._data, self._position)
        if head or self._data[self._position] == 0x5B:
            self._empty_lists = self._empty_lists + 1 if self._before_list == self._number else 0
            self._before_list = self._number
            if self._empty_lists > _MOST_EMPTY_LISTS:
                yield self._give_up_dense()
                return
        if head:
            self._position, self._inside, self._around, self._valid = head.end(), True, 1, True
            return
        first = self._data[self._position]
        if first == 0x5B:  # [
            self._position, self._inside, self._around, self._valid = self._position + 1, True, 0, True
            return
        if first == 0x7D and self._owed:
            yield from self._closing_brace()
            return
        stamp = _EXPORT_TIME.match(self._data, self._position)
        self._position = stamp.end() if stamp else self._behind_wrapper()
        first = self._data[self._position]
        if first != 0x7B:  # {
            yield from self._garbage()
            return
        try:
            end = value_end(self._data, self._position)
        except DenseError:
            yield self._give_up_dense()
            return
        if end is not None:
            raw = bytes(self._data[self._position : end])
            self._value_read(end)
            yield from self._top_value(raw)
            if self._is_too_dense(raw):
                yield self._give_up_dense()
        elif len(self._data) - self._position > self._limits.record:
            yield self._broken("record_too_large", f"no value ends within {self._limits.record} bytes", len(self._data))
            self._ended = True

    def _behind_wrapper(self) -> int:
        """Return where the value at the position begins: behind the head of a wrapper, whose end may be missing."""
        found = WRAPPER.match(self._data, self._position)
        if found is None:
            return self._position
        self._wrapped, self._walk = True, None
        return found.end()

    def _value_read(self, end: int) -> None:
        """Go on behind the value at the position."""
        self._position = end
        self._wrapped, self._owed = False, 2 if self._wrapped else 0

    def _closing_brace(self) -> Iterator[Broken]:
        """Pass over a brace that closes a wrapper; report one that closes nothing."""
        if self._owed:
            self._owed -= 1
            self._position += 1
        else:
            yield self._broken("invalid_json", "a closing brace without an opening one", self._position + 1)

    def _garbage(self) -> Iterator[Piece | Broken]:
        """Report text between values once, up to the line where a value may begin again."""
        line = _NEXT_LINE.search(self._data, self._position)
        if line:
            yield self._broken("not_json", "neither JSON nor a CloudTrail file", line.start())
        elif len(self._data) - self._position > self._limits.record:
            yield self._broken("not_json", "neither JSON nor a CloudTrail file; the rest was not read", len(self._data))
            self._ended = True

    def _top_value(self, raw: bytes) -> Iterator[Piece | Broken]:
        try:
            keys = _decode_keys(raw)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            # A record of its own (JSON lines) is judged by its normaliser, which also says what is wrong with it.
            looks_like_record = raw.startswith(b"{") and b'"event' in raw
            if looks_like_record:
                yield self._piece(raw)
            else:
                self._number += 1
                yield Broken(self._number, "not_json", f"neither JSON nor a CloudTrail file: {error}", raw[:RAW_KEPT])
            return
        if "Records" in keys:
            yield from self._listed(keys["Records"])
        elif "logEvents" in keys:
            yield from self._subscribed(raw)
        elif _RECORD_KEYS & keys.keys():
            yield self._piece(raw)
        elif (record := bridged(keys)) is not None:
            self._valid = True
            yield self._piece(record)
        else:
            self._number += 1
            yield Broken(self._number, "no_records", "a JSON object without Records", raw[:RAW_KEPT])

    def _listed(self, records: msgspec.Raw) -> Iterator[Piece | Broken]:
        try:
            listed = msgspec.json.decode(records, type=list[msgspec.Raw])
        except (msgspec.MsgspecError, RecursionError):
            self._number += 1
            yield Broken(self._number, "no_records", "Records is not an array", bytes(records)[:RAW_KEPT])
            return
        self._valid = True
        for record in listed:
            yield self._piece(bytes(record))

    def _subscribed(self, raw: bytes) -> Iterator[Piece | Broken]:
        """Unwrap the envelope of a CloudWatch Logs subscription: each message is a record, as text."""
        try:
            events = unwrap(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            yield self._rest("bad_envelope", f"not a CloudWatch Logs subscription message: {error}", raw)
            return
        self._valid = True
        for message, event_id in events:
            yield self._piece(message, event_id)

    def _element(self) -> Iterator[Piece | Broken]:
        data, position = self._data, self._position
        first = data[position]
        if first == 0x2C:  # , (one, in a file that a machine wrote)
            self._position = skip_commas(data, position)
            return
        if first == 0x5D:  # ]
            self._position, self._inside, self._after = position + 1, False, self._around > 0
            return
        if first == 0x7D:
            yield from self._closing_brace()
            return
        self._position = position = self._behind_wrapper()
        self._walk = self._walk or Walk()
        try:
            end = self._walk.end(data, position)
        except DenseError:
            yield self._give_up_dense()
            return
        if end is None:
            waited = len(data) - position
            # As long as there is room, its end is waited for: whatever is inside of it is then known to be.
            if waited > self._limits.record and (self._ended or waited > self._limits.buffer):
                self._number += 1
                yield too_large(self._number, data[position : position + RAW_KEPT], self._limits)
                self._position, self._skipping, self._walk = position + 1, True, None
            return
        self._walk = None
        scalar = first not in (0x7B, 0x5B)
        if scalar and len(data) < end + _BOUNDARY_BYTES and not self._ended:
            return  # whether a record begins inside of it takes a look behind it
        raw = bytes(data[position:end])
        boundary = None
        if scalar:
            # Not a record, but it may be the rest of one, and its end inside of the next record.
            boundary = _RECORD_WITHIN.search(data, position, end + _BOUNDARY_BYTES)
        else:
            boundary = _NEXT_RECORD.search(raw)
            boundary = None if boundary is None or _is_json(raw) else _NEXT_RECORD.search(data, position, end)
        if boundary and boundary.start() < end:
            end = boundary.start()
            raw = bytes(data[position:end])
        self._value_read(end)
        yield self._piece(raw if scalar else unbridged(raw))
        if self._is_too_dense(raw):
            yield self._give_up_dense()

    def _is_too_dense(self, raw: bytes) -> bool:
        if len(raw) >= _DENSE_BYTES and is_dense(raw, 0, len(raw)):
            self._dense += len(raw)
        return self._dense > _MOST_DENSE_BYTES

    def _give_up_dense(self) -> Broken:
        """Refuse the rest: it consists of brackets and quotes, and each of them takes a step."""
        self._ended, self._inside, self._after, self._walk = True, False, False, None
        message = "the content is brackets and quotes, as no log is; the rest was not read"
        return self._broken("too_dense", message, len(self._data))

    def _skip_to_next(self) -> None:
        """Drop what belongs to a record that was refused for its length, up to where the next one begins."""
        boundary = _NEXT_RECORD.search(self._data, self._position)
        if boundary:
            self._position, self._skipping = boundary.start(), False
        else:
            self._position = max(self._position, len(self._data) - _BOUNDARY_BYTES)

    def _piece(self, raw: bytes, event_id: str | None = None) -> Piece | Broken:
        self._number += 1
        if len(raw) > self._limits.record:
            return too_large(self._number, raw, self._limits, event_id)
        return Piece(self._number, raw, event_id)

    def _broken(self, kind: str, message: str, until: int) -> Broken:
        self._number += 1
        raw = bytes(self._data[self._position : min(until, self._position + RAW_KEPT)])
        self._position, self._walk, self._wrapped = until, None, False
        return Broken(self._number, kind, message, raw)

    def _finish(self, trouble: SourceError | None) -> Iterator[Piece | Broken]:
        """Account for what is left when no more content comes."""
        while (self._inside or self._after) and not self._skipping:
            boundary = _NEXT_RECORD.search(self._data, self._position)
            if boundary is None:
                break
            yield self._broken("invalid_json", "the record does not end before the next one begins", boundary.start())
            self._ended, self._inside, self._after = True, True, False
            yield from self._values()
        rest = bytes(self._data[self._position :]).strip(b" \t\r\n")
        unclosed = self._inside or self._after
        if self._skipping:
            rest, unclosed = b"", False
        if rest and not unclosed:
            yield from self._last_value(rest)
            rest = b""
        if isinstance(trouble, TrailingDataError):
            if rest:
                yield self._rest("truncated", "the file ends in the middle of a record", rest)
            yield self._rest(trouble.kind, trouble.message, trouble.rest)
        elif trouble is not None:
            yield self._rest(trouble.kind, trouble.message, rest)
        elif rest:
            yield self._rest("truncated", "the file ends in the middle of a record", rest)
        elif unclosed:
            yield self._rest("truncated", "the list of records does not end", b"")
        elif not self._number and not self._valid:
            yield self._rest("empty", "the object is empty", b"")

    def _last_value(self, rest: bytes) -> Iterator[Piece | Broken]:
        if rest.startswith(b"{"):
            yield from self._top_value(rest)
        else:
            yield self._rest("not_json", "neither JSON nor a CloudTrail file", rest)

    def _rest(self, kind: str, message: str, raw: bytes) -> Broken:
        self._number += 1
        return Broken(self._number, kind, message, raw[:RAW_KEPT])


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True
