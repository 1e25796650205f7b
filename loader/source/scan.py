"""Find where a JSON value ends without building it: no recursion, no memory beyond the buffer, no time for junk."""

from __future__ import annotations

import re

# A whole string without escapes, one bracket, or the beginning of any other string. Everything between tokens is of no
# interest here. Escapes are not for a regular expression: each one costs it memory until the end is found.
_TOKEN = re.compile(rb'"[^"\\]*"|[{}\[\]]|"')
_SCALAR_END = re.compile(rb"[\s,\]}]")
_SPACE = re.compile(rb"[ \t\r\n]*")
_COMMAS = re.compile(rb"[ \t\r\n,]*")
_OPENING = (0x7B, 0x5B)
_QUOTE = 0x22
_BACKSLASH = 0x5C
#: Each token is a step of this program: content with fewer bytes for one than this is no log (real records have 14).
_BYTES_A_TOKEN = 5
#: A value is looked at in stretches of so many bytes; the first is walked whatever it looks like.
_STRETCH = 2**20
#: Fewer bytes say nothing: the end of any record is brackets.
_SAMPLE = 2**16
#: Escaped quotes in one string, each a step as well.
_MOST_ESCAPES = 2**20


class DenseError(Exception):
    """A value consists of brackets and quotes: walking it would take minutes, and no log holds one."""


def skip_space(data: bytes | bytearray, position: int) -> int:
    """Return the first position from ``position`` on that is no JSON white space (RFC 8259, section 2)."""
    match = _SPACE.match(data, position)
    return match.end() if match else position


def skip_commas(data: bytes | bytearray, position: int) -> int:
    """Return the first position from ``position`` on that is neither white space nor a comma."""
    match = _COMMAS.match(data, position)
    return match.end() if match else position


def is_dense(data: bytes | bytearray, start: int, end: int) -> bool:
    """Tell whether ``data[start:end]`` has so many brackets and quotes that it cannot be a log. Fast."""
    tokens = data.count(b'"', start, end) / 2
    tokens += sum(data.count(bracket, start, end) for bracket in (b"{", b"}", b"[", b"]"))
    return tokens * _BYTES_A_TOKEN > end - start


class Walk:
    """The way through one value, which goes on where it stopped when more of the value is there.

    ``depth`` 1 or more says that the walk begins inside so many open brackets, and ends where they are closed.
    Brackets are only counted, not matched by kind: whether the value is JSON is for its parser to say.
    """

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth
        self._inside = False
        self._escaped = 0
        #: How far it has come from where it began.
        self._done = 0

    def end(self, data: bytes | bytearray, start: int) -> int | None:
        """Return the position after the value that begins at ``start``; ``None`` if it does not end in ``data``.

        Raises:
            DenseError: see there.
        """
        position = start + self._done
        if position >= len(data):
            return None
        if self._done == 0 and self._depth == 0 and data[start] not in _OPENING and data[start] != _QUOTE:
            match = _SCALAR_END.search(data, start)
            return match.start() if match else None
        while position < len(data):
            if self._inside:
                position, found = self._string(data, position)
                if self._inside:
                    break
            else:
                limit = min(position + _STRETCH, len(data))
                if position - start >= _STRETCH and limit - position >= _SAMPLE and is_dense(data, position, limit):
                    raise DenseError
                position, found = self._tokens(data, position, limit)
            if found:
                return position
        self._done = position - start
        return None

    def _tokens(self, data: bytes | bytearray, position: int, limit: int) -> tuple[int, bool]:
        """Walk up to about ``limit``; return where that ended, and whether the value ended there."""
        depth = self._depth
        for token in _TOKEN.finditer(data, position):
            start, end = token.span()
            first = data[start]
            if first == _QUOTE:
                if end - start == 1:
                    self._depth, self._inside = depth, True
                    return end, False
                if depth == 0:
                    return end, True
            elif first in _OPENING:
                depth += 1
            else:
                depth -= 1
                if depth <= 0:
                    return end, True
            if end >= limit:
                self._depth = depth
                return end, False
        self._depth = depth
        return len(data), False

    def _string(self, data: bytes | bytearray, position: int) -> tuple[int, bool]:
        """Walk to the end of the string that ``position`` is inside of; stop short if it does not end in ``data``."""
        begin = position
        while self._escaped < _MOST_ESCAPES:
            quote = data.find(b'"', position)
            if quote < 0:
                # A backslash at the end stays: what it escapes has not come yet.
                return len(data) - _backslashes(data, begin, len(data)) % 2, False
            position = quote + 1
            if _backslashes(data, begin, quote) % 2 == 0:
                self._inside = False
                self._escaped = 0
                return position, self._depth == 0
            self._escaped += 1
        raise DenseError


def _backslashes(data: bytes | bytearray, begin: int, end: int) -> int:
    """Return how many backslashes stand before ``end``, not further back than ``begin``."""
    width = 64
    while True:
        start = max(begin, end - width)
        run = end - start - len(data[start:end].rstrip(b"\\"))
        if run < end - start or start == begin:
            return run
        width *= 8


def value_end(data: bytes | bytearray, position: int, *, depth: int = 0) -> int | None:
    """Return the position after the JSON value that begins at ``position``; ``None`` if it does not end in ``data``.

    With ``depth`` 1 or more, ``position`` is inside that many open brackets, and the end is where they are closed.

    Raises:
        DenseError: the value consists of brackets and quotes.
    """
    return Walk(depth).end(data, position)
