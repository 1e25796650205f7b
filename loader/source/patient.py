"""Any content that may hold records → raw records, value by value: what is not whole, not one list, or too large."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

import msgspec

from loader.errors import SourceError
from loader.source.decompress import TrailingDataError
from loader.source.envelope import (
    LIST_OF_RECORDS,
    MOST_ENVELOPES,
    RECORD,
    RECORD_NAME,
    WRAPPER,
    records_in,
)
from loader.source.objects import UNREAD, Broken, FetchError, Limits, Piece
from loader.source.reach import Content, Reach, Verdict
from loader.source.scan import WHITE, DenseError, skip_commas, skip_marks, skip_space, skip_space_back
from loader.source.starts import EXPORT_TIME, HEAD, LOOK_AHEAD, LOOK_BACK, SPACE, starts
from loader.source.whole import RAW_KEPT, numbered, too_large

_PARTS = {
    b"s": SPACE,
    b"text": rb'"[^"\\\x00-\x1f]{0,200}"',
    b"number": rb"-?\d{1,32}(?:\.\d{1,32})?(?:[eE][+-]?\d{1,8})?",
}
_SCALAR = rb"(?:%(text)s|%(number)s|true|false|null)" % _PARTS
_PARTS |= {b"scalar": _SCALAR}
#: The head of a CloudTrail file. What is short may stand before the list; if nothing does, its name may be damaged.
_FILE_HEAD = re.compile(
    rb'\{(?:(?:%(s)s%(text)s%(s)s:%(s)s%(scalar)s%(s)s,){0,16}%(s)s("Records")%(s)s:%(s)s\['
    rb'|%(s)s(?!%(name)s)"[^"]{0,200}"[^"\[\]{}]{0,16}\[(?=%(s)s\{%(s)s"(?:eventVersion|awsRegion|additionalEventData)"))'
    % (_PARTS | {b"name": RECORD_NAME.pattern})
)
#: A list, and not just a bracket, as in the lines of other logs.
_LIST_HEAD = re.compile(rb"\[(?=%(s)s(?:[ \t\r\n\[{\]]|%(scalar)s%(s)s[,\]]))" % _PARTS)
#: A member of the object around a list of records, up to its value.
_MEMBER = re.compile(rb'("(?:[^"\\\x00-\x1f]|\\.){0,128}")%(s)s:%(s)s(?=[^ \t\r\n])' % _PARTS)
_LOG_EVENTS = re.compile(rb'"logEvents"')
#: Brackets that close nothing, with another value or the end of the line behind them.
_CLOSING = re.compile(rb"[}\]][}\] \t\r,]{0,64}(?=[{\n])")
_MOST_EMPTY_LISTS = 2**20
_QUOTE, _COMMA, _COLON, _OPENS_LIST, _CLOSES_LIST, _OPENS_OBJECT, _CLOSES_OBJECT = b'",:[]{}'
_DIGITS = b"0123456789"


class Splitter:
    """Walks the content value by value, with at most one value that is not sound and one chunk in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._content = Content(bytearray())
        self._position = 0
        #: Bytes from the position on with which there is more to be said than without.
        self._needed = 1
        self._number = 0
        self._reach = Reach(max(limits.record, limits.buffer))
        self._inside = False
        #: Open brackets around the list of records: 1 in CloudTrail's form, 0 for a bare array; and lists inside of it.
        self._around = self._nested = 0
        self._after = False
        #: Whether there was a comma since the list or the last member behind it.
        self._parted = False
        #: Whether something in the list was damaged: what follows it may be a part of that.
        self._torn = False
        #: Whether what is at the position has been reported and is passed over, up to any line or up to a record.
        self._skipping, self._loose = False, False
        self._valid = False
        #: Lists in a row that were begun without a value since.
        self._empty_lists, self._before_list = 0, 0

    def run(
        self, head: bytearray, chunks: Iterator[bytes] | None, trouble: SourceError | None = None
    ) -> Iterator[Piece | Broken]:
        """Yield the pieces of ``head`` and then of ``chunks``.

        Without ``chunks`` there is nothing more to come; ``trouble`` is why, if it should.
        """
        content = self._content = Content(head, ended=chunks is None)
        if len(head) > self._limits.total:
            trouble = self._too_large()
        while True:
            try:
                yield from self._values()
            except DenseError:
                yield self._give_up()
                return
            if content.ended or chunks is None:
                break
            try:
                self._more(chunks)
            except FetchError:
                raise
            except SourceError as error:
                trouble, content.ended = error, True
        yield from self._finish(trouble)

    def _more(self, chunks: Iterator[bytes]) -> None:
        """Read as much as is needed.

        Raises:
            SourceError: ``object_too_large``, or what reading ``chunks`` raises.
        """
        content = self._content
        # What stands before a start is looked at; before a value it does not matter.
        count = max(0, self._position - LOOK_BACK) if self._skipping else self._position
        del content.data[:count]
        content.gone += count
        self._position -= count
        # In any case something: what is there has been seen.
        needed = max(self._needed, len(content.data) - self._position + 1)
        while len(content.data) - self._position < needed:
            chunk = next(chunks, None)
            if chunk is None:
                content.ended = True
                return
            content.data += chunk
            if content.gone + len(content.data) > self._limits.total:
                raise self._too_large()

    def _too_large(self) -> SourceError:
        """Cut what is there to what may be read at most."""
        content = self._content
        content.ended = True
        del content.data[max(0, self._limits.total - content.gone) :]
        return SourceError(f"more than {self._limits.total} bytes of content", kind="object_too_large")

    def _values(self) -> Iterator[Piece | Broken]:
        """Yield what can be told of the buffer, up to where more has to come."""
        data = self._content.data
        while not self._skipping or self._skip_to_next():
            self._needed = 1
            self._position = before = skip_marks(data, self._position)
            if before >= len(data):
                return
            if data[before] == _COMMA:
                self._position, self._parted = skip_commas(data, before), True
            elif self._after:
                yield from self._behind_list()
            else:
                yield from self._element() if self._inside else self._top()
            if self._position == before and not self._skipping:
                return

    def _skip_to_next(self) -> bool:
        """Pass over what has been reported; tell whether something else has been found."""
        data = self._content.data
        stop = len(data) if self._content.ended else len(data) - LOOK_AHEAD
        start = next(starts(data, self._position, stop, loose=self._loose), None)
        if start is None:
            self._position = max(self._position, stop)
            self._needed = LOOK_AHEAD + 1
            return False
        self._position, self._skipping = start.position, False
        return True

    def _top(self) -> Iterator[Piece | Broken]:
        data, position = self._content.data, self._position
        head = _FILE_HEAD.match(data, position)
        if (head and not RECORD_NAME.search(head[0])) or _LIST_HEAD.match(data, position):
            yield from self._list(head)
            return
        start = self._behind_time()
        if start is not None and data[start] == _OPENS_OBJECT:
            yield from self._value(start)
        elif start is not None:
            yield from self._no_value()

    def _list(self, head: re.Match[bytes] | None) -> Iterator[Broken]:
        """Go into a list of records, or a bare array without ``head``.

        Raises:
            DenseError: there were too many without anything in them.
        """
        self._empty_lists = self._empty_lists + 1 if self._before_list == self._number else 0
        self._before_list = self._number
        if self._empty_lists > _MOST_EMPTY_LISTS:
            raise DenseError
        if head and not head[1]:
            yield self._broken("no_records", "a list of records under another name than Records", head.end())
        self._position = head.end() if head else self._position + 1
        self._inside, self._around, self._nested = True, 1 if head else 0, 0
        self._torn, self._valid = False, True

    def _behind_time(self) -> int | None:
        """Return where the value at the position begins, behind an export's time; ``None`` if it is too early."""
        data, position = self._content.data, self._position
        time = EXPORT_TIME.match(data, position)
        is_short = not self._content.ended and len(data) - position < LOOK_AHEAD
        if is_short and ((data[position] in _DIGITS and time is None) or (time and time.end() == len(data))):
            self._needed = LOOK_AHEAD
            return None
        return time.end() if time and data[time.end() : time.end() + 1] == b"{" else position

    def _element(self) -> Iterator[Piece | Broken]:
        data, position = self._content.data, self._position
        first = data[position]
        if first == _CLOSES_LIST:
            self._position += 1
            if self._nested:
                self._nested -= 1
            else:
                self._inside, self._after, self._parted = False, self._around > 0, False
        elif first == _CLOSES_OBJECT:
            yield self._broken("invalid_json", "a closing brace without an opening one", position + 1)
        elif self._nested < MOST_ENVELOPES and LIST_OF_RECORDS.match(data, position):
            self._position, self._nested = position + 1, self._nested + 1
        elif first == _COLON and HEAD.match(data, skip_space(data, position + 1)):
            yield self._broken("invalid_json", "a colon in a list", position + 1)
        elif first == _COLON:
            yield from self._no_value()
        else:
            start = self._behind_time()
            if start is not None:
                yield from self._value(start)

    def _value(self, start: int) -> Iterator[Piece | Broken]:
        """Deal with the value that begins at ``start``; an export's time may stand between the position and it."""
        content = self._content
        if self._reach.is_hasty(content, start) and (yield from self._inner(start)):
            return
        verdict, at = self._reach.of(content, start, listed=self._inside)
        if verdict is Verdict.WAIT:
            self._needed = start - self._position + at
        elif verdict is Verdict.ENDS:
            if self._reach.crossed and (yield from self._inner(start)):
                return
            self._position, self._torn = at, self._torn or self._reach.crossed
            yield from self._read(start, at)
        elif verdict is Verdict.STRAY:
            yield from self._no_value()
        elif verdict is Verdict.LARGE or (verdict is Verdict.OPEN and at - start > self._limits.record):
            yield self._too_long(start, at)
            self._position, self._skipping, self._loose = at, True, False
        else:
            inner = yield from self._inner(start)
            if verdict is Verdict.TORN and not inner:
                yield from self._torn_value(start, at)

    def _inner(self, start: int) -> Generator[Piece | Broken, None, bool]:
        """Go into a value without an end, if there are records in it; tell whether there are."""
        data = self._content.data
        wrapper, head = WRAPPER.match(data, start), _FILE_HEAD.match(data, start)
        if wrapper:  # the record in it may be whole
            self._position, self._torn = wrapper.end(), True
        elif head and head[1]:  # the list around it has no end, and this is another one
            if not self._torn:
                yield self._rest("truncated", "the list of records does not end before the next one begins", b"")
            yield from self._list(head)
        return wrapper is not None or (head is not None and head[1] is not None)

    def _torn_value(self, start: int, until: int) -> Iterator[Piece | Broken]:
        """Deal with a value that does not end before the next record begins."""
        self._torn = True
        data = self._content.data
        end = skip_space_back(data, start, until, also=b",")
        if end - start > self._limits.record:
            self._position = until
            yield self._too_long(start, end)
        elif self._inside and data.endswith(b"}", start, end):
            # It may be whole but for a bracket or a quote too many: its normaliser says what is wrong with it.
            self._position = until
            yield from self._read(start, end)
        else:
            yield self._broken("invalid_json", "the record does not end before the next one begins", until)

    def _no_value(self) -> Iterator[Broken]:
        """Report what is no value once, up to where a value may begin again."""
        content, position = self._content, self._position
        longest = position + self._limits.record
        if not content.ended and len(content.data) < longest + LOOK_AHEAD:
            self._needed = self._limits.record + LOOK_AHEAD
            return
        kind, message = "not_json", "neither JSON nor a CloudTrail file"
        if self._inside:
            kind, message, self._torn = "invalid_json", "neither a record nor any other value", True
        closing = None if self._inside else _CLOSING.match(content.data, position)
        stop = min(longest, len(content.data))
        start = None if closing else next(starts(content.data, position + 1, stop, loose=True), None)
        if closing or start:
            yield self._broken(kind, message, closing.end() if closing else start.position if start else position)
        elif len(content.data) <= longest:
            yield self._broken(kind, message, len(content.data))
            self._inside = False  # if there was an end of the list, it is in there
        else:
            yield self._broken("record_too_large" if self._inside else kind, message, longest)
            self._skipping, self._loose = True, True

    def _behind_list(self) -> Iterator[Piece | Broken]:
        """Pass over the members after ``Records``: they hold no records."""
        data, position = self._content.data, self._position
        first = data[position]
        member = _MEMBER.match(data, position) if first == _QUOTE else None
        if first == _CLOSES_OBJECT:
            self._position, self._after = position + 1, False
        elif member is None and first == _QUOTE and not self._content.ended and len(data) - position < LOOK_AHEAD:
            self._needed = LOOK_AHEAD
        elif member is None:
            # A bracket too many inside of the list, and records behind it.
            self._after, self._inside, self._torn = False, True, True
            yield from self._element()
        elif data[member.end()] == _OPENS_LIST and _name(member) == "Records":
            self._position, self._after, self._inside = member.end() + 1, False, True
        else:
            yield from self._member(member.end())

    def _member(self, start: int) -> Iterator[Broken]:
        """Pass over a member whose value begins at ``start``, and report it if it looks like a part of a record."""
        verdict, at = self._reach.of(self._content, start, listed=False)
        if verdict is Verdict.WAIT:
            self._needed = start - self._position + at
        elif verdict is Verdict.ENDS:
            data, position = self._content.data, self._position
            found = any(part.search(data, position, at) for part in (RECORD_NAME, HEAD, _LOG_EVENTS))
            if self._torn or found or not self._parted or not self._reach.sound:
                self._torn = True
                yield self._broken("beside_records", "not in the list of records, but perhaps a part of it", at)
            self._position, self._parted = at, False
        elif verdict is not Verdict.OPEN:
            yield self._broken("invalid_json", "what follows the list of records is no JSON, or too long", at)
            self._after, self._skipping, self._loose = False, verdict is Verdict.LARGE, False

    def _read(self, start: int, end: int) -> Iterator[Piece | Broken]:
        """Yield what is in a value."""
        self._valid = True
        data = self._content.data
        end = skip_space_back(data, start, end)
        if data.startswith(RECORD, start) and end - start > self._limits.record:
            # Not copied: it may be as large as all that is held.
            yield self._too_long(start, end)
            return
        with memoryview(data) as view, view[start:end] as part:
            raw = bytes(part)
        for found in records_in(raw, alone=not self._inside, depth=self._nested):
            self._number += 1
            yield numbered(self._number, found, self._limits)

    def _too_long(self, start: int, end: int) -> Broken:
        self._number += 1
        return too_large(self._number, self._content.data[start : min(end, start + RAW_KEPT)], self._limits)

    def _give_up(self) -> Broken:
        message = "brackets and quotes without an end, as no log has them; the rest was not read"
        return self._broken("too_dense", message, len(self._content.data))

    def _broken(self, kind: str, message: str, until: int) -> Broken:
        self._number += 1
        # Not more than what is held in any case: how the content came in chunks makes no difference.
        end = min(until, self._position + min(RAW_KEPT, self._limits.record))
        kept, cut = self._content.data[self._position : end], end < until or kind in UNREAD
        self._position = until
        kept = kept.rstrip(WHITE + b"," if self._inside else WHITE)
        return Broken(self._number, kind, message, bytes(kept), cut=cut)

    def _finish(self, trouble: SourceError | None) -> Iterator[Broken]:
        """Account for what is left when no more content comes."""
        rest = bytes(self._content.data[self._position : self._position + RAW_KEPT + 1]).strip(WHITE)
        unclosed = self._inside or self._after
        if self._skipping:
            rest, unclosed = b"", False
        if isinstance(trouble, TrailingDataError):
            if rest:
                yield self._rest("truncated", "the file ends in the middle of a record", rest)
            yield self._rest(trouble.kind, trouble.message, trouble.rest)
        elif trouble is not None:
            yield self._rest(trouble.kind, trouble.message, rest)
        elif rest and not unclosed and b'"event' not in rest:
            yield self._rest("not_json", "neither JSON nor a CloudTrail file", rest)
        elif rest:
            yield self._rest("truncated", "the file ends in the middle of a record", rest)
        elif unclosed:
            yield self._rest("truncated", "the list of records does not end", b"")
        elif not self._number and not self._valid:
            yield self._rest("empty", "the object is empty", b"")

    def _rest(self, kind: str, message: str, raw: bytes) -> Broken:
        self._number += 1
        return Broken(self._number, kind, message, raw[:RAW_KEPT], cut=len(raw) > RAW_KEPT or kind in UNREAD)


def _name(member: re.Match[bytes]) -> str:
    try:
        return msgspec.json.decode(member[1], type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
