"""Find where a JSON value ends without building it: no recursion, no memory beyond the buffer."""

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


def skip_space(data: bytes | bytearray, position: int) -> int:
    """Return the first position from ``position`` on that is no JSON white space (RFC 8259, section 2)."""
    match = _SPACE.match(data, position)
    return match.end() if match else position


def skip_commas(data: bytes | bytearray, position: int) -> int:
    """Return the first position from ``position`` on that is neither white space nor a comma."""
    match = _COMMAS.match(data, position)
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
    while True:
        for token in _TOKEN.finditer(data, position):
            start, end = token.span()
            first = data[start]
            if first == _QUOTE:
                if end - start == 1:
                    break
                if depth == 0:
                    return end
            elif first in _OPENING:
                depth += 1
            else:
                depth -= 1
                if depth <= 0:
                    return end
        else:
            return None
        string_end = _string_end(data, end)
        if string_end is None or depth == 0:
            return string_end
        position = string_end


def _string_end(data: bytes | bytearray, position: int) -> int | None:
    """Return the position after the string that ``position`` is inside of; ``None`` if it does not end in ``data``."""
    begin = position
    while (quote := data.find(b'"', position)) >= 0:
        before = quote
        while before > begin and data[before - 1] == _BACKSLASH:
            before -= 1
        if (quote - before) % 2 == 0:
            return quote + 1
        position = quote + 1
    return None
