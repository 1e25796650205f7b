"""Where in damaged content a record probably begins, and whether a sound value could go on across that place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from loader.source.scan import WHITE

#: White space as machines write it, for regular expressions.
SPACE = rb"[ \t\r\n]{0,32}"
#: How the things begin that are read. Quotes inside a string are escaped: this is never inside of a sound one. No other
#: start is inside of a head, and none can be seen before it is whole.
_HEAD = (
    rb'\{%(s)s"(?:(?:eventVersion|eventTime|eventID|eventName|eventSource|awsRegion|additionalEventData|messageType'
    rb'|Records)"%(s)s:|version"%(s)s:%(s)s"0"|aws"[ \t]{0,8}:[ \t]{0,8}\{%(s)s"cloudtrail"%(s)s:)'
) % {b"s": SPACE}
_TIME = (
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,12})?)?"  # 2026-11-20T10:00:00.000
    rb"(?: ?(?:[Zz]|UTC|[+-]\d\d(?::?\d\d)?))?"  # Z, or an offset from UTC
)
#: The head of a record, or of what records travel in.
HEAD = re.compile(_HEAD)
#: CloudWatch Logs' export to S3 writes each event's time before it; other tools write it in other ways.
#: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/S3ExportTasks.html
EXPORT_TIME = re.compile(_TIME + rb"[ \t]{1,32}")
#: A line's beginning, where a value of its own may begin even if the line before it is no whole one.
_LINE = re.compile(
    rb'\n(?:(?=\{)|[ \t\r]{0,64}(?=[{\[\d])(?:(?=\{[ \t]{0,8}")|(?=\[[ \t]{0,8}%s)|(?=%s[ \t\r\n])))' % (_HEAD, _TIME)
)
#: The same between values, where there is nothing to be torn.
_LOOSE_LINE = re.compile(rb"\n[ \t\r]{0,64}(?:(?=[{\[])|(?=%s[ \t\r\n]))" % _TIME)
#: No match of these expressions is longer, together with what it looks ahead to.
LOOK_AHEAD = 512
#: White space before a start that is passed over to see what stands there.
LOOK_BACK = 256
_FIRST_STRETCH, _LAST_STRETCH = 2**8, 2**20
_OPENS_LIST, _COMMA, _COLON, _NEWLINE = 0x5B, 0x2C, 0x3A, 0x0A


@dataclass(slots=True)
class Start:
    """A place where a record probably begins.

    ``before`` is the byte before it, white space aside (0: too far off). ``certain`` tells that no sound value goes on
    here: in one, an object stands behind a comma, a colon or a bracket, and a time nowhere. ``line`` tells that a line
    begins here.
    """

    position: int
    before: int
    certain: bool
    line: bool


def starts(data: bytes | bytearray, begin: int, stop: int, *, loose: bool = False) -> Iterator[Start]:
    """Yield where records probably begin, from ``begin`` on and before ``stop``, in their order.

    ``loose``: nothing is torn here, so that a line that begins like any value is a start.
    """
    line = _LOOSE_LINE if loose else _LINE
    size = _FIRST_STRETCH
    while begin < stop:
        # One expression for both would have no fixed first byte, and take seven times as long. Short stretches at
        # first: the one must not look far for what the other has found near by, again and again.
        end = min(begin + size, stop)
        found = _first(HEAD, data, begin, end)
        found = _first(line, data, begin, found.position if found else end) or found
        if found is None:
            begin, size = end, min(size * 2, _LAST_STRETCH)
        else:
            yield found
            begin, size = found.position + 1, _FIRST_STRETCH


def _first(pattern: re.Pattern[bytes], data: bytes | bytearray, begin: int, end: int) -> Start | None:
    """Return the first start that lies in ``data[begin:end]``; what makes it one may lie around it."""
    for match in pattern.finditer(data, max(0, begin - LOOK_BACK), end + LOOK_AHEAD):
        start = _start(data, match)
        if start is not None and start.position >= begin:
            return start if start.position < end else None
    return None


def _start(data: bytes | bytearray, match: re.Match[bytes]) -> Start | None:
    line = data[match.start()] == _NEWLINE
    position = match.end() if line else match.start()
    floor = max(0, match.start() - LOOK_BACK)
    space = data[floor : match.start()]
    text = space.rstrip(WHITE)
    line = line or b"\n" in space[len(text) :]
    before = text[-1] if text else 0
    if before == _COLON and not line and b'"messageType"' not in match[0]:
        return None  # an object inside of another one, as envelopes of CloudWatch Logs never are
    certain = data[position] not in b"{[" or before not in (_OPENS_LIST, _COMMA, _COLON, 0)
    return Start(position, before, certain, line)
