"""Find where a JSON value ends without building it: no recursion, no memory beyond the buffer."""

from __future__ import annotations

import re
from enum import Enum, auto
from itertools import islice

import msgspec

# Some short values in a row, brackets in a row, or the beginning of a string with escapes in it. Everything between
# tokens is of no interest here. Escapes are not for a regular expression: each one costs it memory to the end.
_TOKEN = re.compile(rb'(?:[ \t\r\n,:]*(?:"[^"\\]*"|\[\]|\{\})){1,64}|([{\[]+)|([}\]]+)|(")')
_OPENED, _CLOSED, _BEGUN = 1, 2, 3
_CLOSING_OF = bytes.maketrans(b"{[", b"}]")
#: JSON's white space (RFC 8259, section 2).
WHITE = b" \t\r\n"
_SPACE = re.compile(rb"[ \t\r\n]*")
_COMMAS = re.compile(rb"[ \t\r\n,]*")
#: A byte order mark in UTF-8: at the beginning of a file, and in its middle where files were joined.
MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_QUOTE = 0x22
_pass_over = msgspec.json.Decoder(msgspec.Raw).decode
_TRUNCATED = "Input data was truncated"
_TRAILING = "JSON is malformed: trailing characters"
_POSITION = re.compile(r"\(byte (\d+)\)$")
#: Bytes that are first looked at for the end of a value with odd escapes; so many times as many the next time.
_FIRST_LOOK, _NEXT_LOOK = 2**10, 8
#: The same for the end of a string.
_FIRST_STRETCH, _LAST_STRETCH = 2**8, 2**20
#: An escape that the parser does not like is no farther than this from where it says so.
_AROUND = 24
_BACK = 2**12
#: Steps between two looks at how many are left.
_MOST_AT_ONCE = 2**16
#: Longer than any number, name or escape of a log.
_LONGEST_TOKEN = 512


class Unsound(Enum):
    """Why there is no JSON value at a place."""

    #: It may go on behind what there is.
    TRUNCATED = auto()
    #: Deeper than the parser goes. It may be JSON.
    DEEP = auto()
    MALFORMED = auto()


class DenseError(Exception):
    """So many brackets and quotes were walked over that it would take minutes, and nothing sound needs any of it."""


class Patience:
    """How many steps may be taken for one object, all its walks together."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Count ``steps``.

        Raises:
            DenseError: there are no more left.
        """
        self._left -= steps
        if self._left < 0:
            raise DenseError


def skip_space(data: bytes | bytearray, position: int) -> int:
    """Return the first position from ``position`` on that is no JSON white space."""
    match = _SPACE.match(data, position)
    return match.end() if match else position


def skip_space_back(data: bytes | bytearray, begin: int, end: int, *, also: bytes = b"") -> int:
    """Return the position after the last byte of ``data[begin:end]`` that is no white space, and none of ``also``."""
    while end > begin:
        part = data[max(begin, end - _BACK) : end]
        kept = part.rstrip(WHITE + also)
        end -= len(part) - len(kept)
        if kept:
            break
    return end


def skip_marks(data: bytes | bytearray, position: int) -> int:
    """Return the first position from ``position`` on that is neither white space nor a byte order mark."""
    position = skip_space(data, position)
    while data.startswith(MARK, position):
        position = skip_space(data, position + len(MARK))
    return position


def skip_commas(data: bytes | bytearray, position: int) -> int:
    """Return the first position from ``position`` on that is neither white space nor a comma."""
    match = _COMMAS.match(data, position)
    return match.end() if match else position


def without_surrogates(raw: bytes) -> bytes | None:
    r"""Return ``raw``, as long as it is, without halves of surrogate pairs; ``None`` if there are none in it.

    The parser refuses ``\ud83d`` without its other half, and other programs write it where they cut a text.
    """
    clean = _SURROGATE.sub(rb"\\ufffd", raw)
    return None if clean == raw else clean


def sound_end(data: bytes | bytearray, begin: int, stop: int) -> int | Unsound:
    """Return the position after the JSON value at ``begin`` and the white space behind it; or why there is none.

    Nothing from ``stop`` on is looked at. A value is passed over by the parser, which says where it met something
    behind it: a thousand times as fast as any walk of this program's. Halves of surrogate pairs are no trouble.
    """
    with memoryview(data) as view, view[begin:stop] as whole:
        found, at = _passed_over(whole)
    if found is None:
        return begin + at
    met = stop if found is Unsound.TRUNCATED else begin + at
    if not _SURROGATE.search(data, max(begin, met - _AROUND), min(met + _AROUND, stop)):
        return found  # something else was met
    size = _FIRST_LOOK
    while True:
        with memoryview(data) as view, view[begin : min(begin + size, stop)] as some:
            part = bytes(some)
        failed, at = _passed_over(without_surrogates(part) or part)
        is_all = begin + size >= stop
        if failed is None and (at < len(part) or is_all):
            return begin + at
        # Where the look ends, a number is malformed that is whole in truth.
        if is_all or failed is Unsound.DEEP or (failed is Unsound.MALFORMED and at < len(part) - _LONGEST_TOKEN):
            return failed or Unsound.TRUNCATED
        size *= _NEXT_LOOK


def _passed_over(part: bytes | memoryview) -> tuple[Unsound | None, int]:
    """Return why there is no value at the beginning of ``part``, and where that was seen; or where the value ends."""
    try:
        _pass_over(part)
    except RecursionError:
        return Unsound.DEEP, 0
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        text = str(error)
    else:
        return None, len(part)
    position = _POSITION.search(text)
    at = int(position[1]) if position else 0
    if text.startswith(_TRAILING):
        return None, at - 1
    return (Unsound.TRUNCATED if text == _TRUNCATED else Unsound.MALFORMED), at


class Walk:
    """The way through one value that is no JSON, or may be none; it goes on where it stopped.

    Where the value ends is told by counting brackets, whatever their kinds. Their kinds are kept all the same, for who
    asks whether another value may begin where the walk has come to.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._open = bytearray()
        #: How far it has come from where it began.
        self._done = 0
        #: Whether the walk stands inside a string, and whether a bracket was closed by one of the other kind.
        self.in_string = False
        self.crossed = False

    @property
    def innermost(self) -> int:
        """The bracket that was opened last and is not closed, as a byte; 0 if there is none."""
        return self._open[-1] if self._open else 0

    def end(self, data: bytes | bytearray, begin: int, stop: int) -> int | None:
        """Return the position after the value that begins at ``begin``; ``None`` if it does not end before ``stop``.

        Raises:
            DenseError: see there.
        """
        position, ended = begin + self._done, False
        if not self._done and position < stop:
            # The value's own beginning; from here on something is open until it ends.
            self.in_string = data[begin] == _QUOTE
            self._open += b"" if self.in_string else data[begin : begin + 1]
            position += 1
        while position < stop and not ended:
            if self.in_string:
                position, ended = self._string(data, position, stop)
                if self.in_string:
                    break
            else:
                position, ended = self._tokens(data, position, stop)
        self._done = position - begin
        return position if ended else None

    def _tokens(self, data: bytes | bytearray, position: int, stop: int) -> tuple[int, bool]:
        """Walk up to ``stop`` or into a string; return where that ended, and whether the value ended there."""
        opened, steps, ended = self._open, 0, False
        for token in islice(_TOKEN.finditer(data, position, stop), _MOST_AT_ONCE):
            steps += 1
            start, position = token.span()
            kind = token.lastindex
            if kind == _OPENED:
                opened += token[0]
            elif kind == _CLOSED:
                if position - start == 1:
                    # { and }, [ and ] are two apart.
                    self.crossed = self.crossed or opened[-1] + 2 != data[start]
                    opened.pop()
                else:
                    position = self._closed(data, start, min(position - start, len(opened)))
                if not opened:
                    ended = True
                    break
            elif kind == _BEGUN:
                self.in_string = True
                break
        self._patience.spend(steps)
        return (position if ended or self.in_string or steps == _MOST_AT_ONCE else stop), ended

    def _closed(self, data: bytes | bytearray, start: int, count: int) -> int:
        """Close ``count`` brackets, by those from ``start`` on; return where they end."""
        closed = self._open[len(self._open) - count :].translate(_CLOSING_OF)
        closed.reverse()
        self.crossed = self.crossed or not data.startswith(closed, start)
        del self._open[len(self._open) - count :]
        return start + count

    def _string(self, data: bytes | bytearray, position: int, stop: int) -> tuple[int, bool]:
        """Walk to the end of the string that ``position`` is inside of, but not beyond ``stop``."""
        size, steps = _FIRST_STRETCH, 0
        while position < stop:
            steps += 1
            stretch = data[position : min(position + size, stop)]
            plain = stretch.replace(rb"\\", b"  ").replace(rb"\"", b"  ")
            quote = plain.find(b'"')
            if quote >= 0:
                position, self.in_string = position + quote + 1, False
                break
            # A backslash at the end stays: what it escapes has not come yet.
            halved = plain.endswith(b"\\")
            position += len(stretch) - halved
            if halved and len(stretch) < size:
                break
            size = min(size * 2, _LAST_STRETCH)
        self._patience.spend(steps)
        return position, not self.in_string and not self._open
