"""Find where a JSON value ends without building it: no recursion, no memory beyond the buffer."""

from __future__ import annotations

import re

# A whole string (escapes included), or one bracket. Everything between tokens is of no interest here.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]|"', re.DOTALL)
_SCALAR_END = re.compile(rb"[\s,\]}]")
_SPACE = re.compile(rb"[ \t\r\n]*")
_OPENING = (0x7B, 0x5B)
_QUOTE = 0x22


def skip_space(data: bytes | bytearray, position: int) -> int:
    """Return the first position from ``position`` on that is no JSON white space (RFC 8259, section 2)."""
    match = _SPACE.match(data, position)
    return match.end() if match else position


def value_end(data: bytes | bytearray, position: int, *, depth: int = 0) -> int | None:
    """Return the position after the JSON value that begins at ``position``; ``None`` if it does not end in ``data``.

    With ``depth`` 1 or more, ``position`` is inside that many open brackets, and the end is where they are closed.
    Brackets are only counted, not matched by kind: whether the slice is JSON is for its parser to say.
    """
    if depth == 0:
        if position >= len(data):
            return None
        first = data[position]
        if first not in _OPENING and first != _QUOTE:
            match = _SCALAR_END.search(data, position)
            return match.start() if match else None
    for token in _TOKEN.finditer(data, position):
        start = token.start()
        first = data[start]
        if first == _QUOTE:
            if token.end() - start == 1:
                return None  # a string that does not end here
            if depth == 0:
                return token.end()
        elif first in _OPENING:
            depth += 1
        else:
            depth -= 1
            if depth <= 0:
                return token.end()
    return None
