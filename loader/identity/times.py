"""Times as STS and CloudTrail write them, as epoch seconds."""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime, timezone
from typing import Any, Final

_ISO: Final = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(?:[.,]\d+)?Z?")
#: ``Jul 10, 2023, 12:31:14 PM``; older records have no comma after the year, newer ones a narrow space before ``PM``.
_SPELT: Final = re.compile(r"([A-Z][a-z]{2}) (\d{1,2}), (\d{4}),? (\d{1,2}):(\d\d):(\d\d)\s([AP])M")
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
#: Numbers from here on are milliseconds: as seconds they would lie after the year 5000.
_MILLISECONDS_FROM: Final = 10**11
#: 9999-12-31T23:59:59Z: later times are none, for Python as for the cluster.
LAST: Final = 253402300799


def epoch(value: Any) -> int | None:
    """Return ``value`` as epoch seconds (UTC), ``None`` if it is no time. Fractions are cut.

    Understood are RFC 3339 in UTC, ``20230710T114500Z``, ``Jul 10, 2023, 12:31:14 PM`` (what CloudTrail makes of an
    expiration) and numbers of seconds or milliseconds.
    """
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 <= value <= LAST * 1000:
        return None
    return int(value / 1000 if value >= _MILLISECONDS_FROM else value)


def _from_text(text: str) -> int | None:
    if len(text) > 64:
        return None
    if match := _ISO.fullmatch(text):
        fields = [int(part) for part in match.groups()]
    elif match := _SPELT.fullmatch(text):
        month, day, year, hour, minute, second, half = match.groups()
        if month not in _MONTHS or not 1 <= int(hour) <= 12:
            return None
        fields = [int(year), _MONTHS[month], int(day), int(hour) % 12 + 12 * (half == "P"), int(minute), int(second)]
    else:
        return None
    try:
        return timegm(datetime(*fields, tzinfo=timezone.utc).utctimetuple())  # type: ignore[arg-type, misc]
    except ValueError:
        return None


def text_of(seconds: int) -> str:
    """Return epoch ``seconds`` as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat().replace("+00:00", "Z")
