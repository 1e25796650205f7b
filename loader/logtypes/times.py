"""Times as AWS writes them → times as the index takes them. No clock is read here."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

from msgspec import Struct

_UTC: Final = timezone.utc
#: RFC 3339 in UTC, nanoseconds at most: what is passed on as it is.
_EXACT: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z", re.ASCII)
_TIME: Final = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[Tt ](\d\d):?(\d\d):?(\d\d)(?:[.,](\d{1,30}))?\s?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)
#: ``…_20230710T1145Z_…`` in an object's key: when CloudTrail delivered it, in UTC.
#: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
_DELIVERY: Final = re.compile(r"_(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)Z_", re.ASCII)

_SIXTY: Final = tuple(f"{number:02d}" for number in range(60))
_HOURS: Final = frozenset(f"{hour}:" for hour in _SIXTY[:24])
_MINUTES_AND_SECONDS: Final = frozenset(f"{minute}:{second}Z" for minute in _SIXTY for second in _SIXTY)
#: ``2023-07-10T`` → ``2023.07.10``, of dates that were seen.
_dates: Final[dict[str, str]] = {}
_DATES_KEPT: Final = 1024

_BEFORE_DELIVERY: Final = timedelta(days=7)
_AFTER_DELIVERY: Final = timedelta(hours=1)
#: ``2023-07-10T11:45:00``: texts of this form sort as the times do.
SECONDS: Final = len("2023-07-10T11:45:00")
#: In place of a day in an index's name, for times that are not believed.
MISDATED: Final = "misdated"
#: A text longer than this is no time.
LONGEST_TIME: Final = 64


class Moment(Struct, frozen=True, gc=False):
    """A point in time. ``text`` is RFC 3339 in UTC, ``day`` is ``YYYY.MM.DD``.

    ``exact`` is true when ``text`` is the text that was parsed.
    """

    text: str
    day: str
    exact: bool


class Window(Struct, frozen=True, gc=False):
    """A stretch of time: the texts of the moments in it are not before ``first`` and not behind ``last``.

    Both are a moment's first :data:`SECONDS` letters; behind ``last`` stands what is greater than anything that may
    follow there, so that texts are compared as they are.
    """

    first: str
    last: str


def parse_time(text: str) -> Moment | None:
    """Return the moment that ``text`` names, ``None`` if it names none. Short texts only: their parts are remembered.

    Understood are RFC 3339 and the basic form ``20230710T114500Z``, with any fraction and offset. Without an offset it
    is UTC, which is all that CloudTrail writes. What is finer than a nanosecond is cut.
    """
    # The form of nearly all times: a date seen before, and whole seconds.
    date = _dates.get(text[:11])
    if date is not None and text[11:14] in _HOURS and text[14:] in _MINUTES_AND_SECONDS:
        return Moment(text, date, exact=True)
    match = _EXACT.fullmatch(text)
    if match is None:
        return _parse_other(text)
    date = match.group(1)
    day = _day_of(date)
    if day is None:
        return None
    if len(_dates) >= _DATES_KEPT:
        _dates.clear()
    _dates[f"{date}T"] = day
    return Moment(text, day, exact=True)


def _day_of(date: str) -> str | None:
    """Return ``2023.07.10`` of ``2023-07-10``, ``None`` if there is no such day."""
    try:
        datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=_UTC)
    except ValueError:
        return None
    return date.replace("-", ".")


def _parse_other(text: str) -> Moment | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=_UTC)
        if zone and zone not in "Zz":
            sign = -1 if zone[0] == "+" else 1
            moment += sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    except (ValueError, OverflowError):
        return None
    tail = f".{fraction[:9]}Z" if fraction else "Z"
    return Moment(f"{_seconds(moment)}{tail}", _seconds(moment)[:10].replace("-", "."), exact=False)


def _seconds(moment: datetime) -> str:
    # isoformat and not strftime, which does not fill the year with zeros everywhere.
    return moment.replace(tzinfo=None, microsecond=0).isoformat()


def shifted(moment: Moment, by: timedelta) -> str | None:
    """Return RFC 3339 of ``moment`` shifted, whole seconds; ``None`` outside the years 1 to 9999."""
    try:
        return f"{_seconds(datetime.fromisoformat(moment.text[:SECONDS]) + by)}Z"
    except OverflowError:
        return None


def delivery(key: str) -> Moment | None:
    """Return when the object with this key was delivered, ``None`` if the key does not say."""
    match = _DELIVERY.search(key, key.rfind("/") + 1)
    return parse_time("{}-{}-{}T{}:{}:00Z".format(*match.groups())) if match else None


def believable(delivered: Moment) -> Window:
    """Return the window in which an event's time is believed for the name of an index.

    That is from 7 days before its object's delivery to 1 hour after it.
    """
    first, last = shifted(delivered, -_BEFORE_DELIVERY), shifted(delivered, _AFTER_DELIVERY)
    return Window((first or "0001-01-01T00:00:00Z")[:SECONDS], (last or "9999-12-31T23:59:59Z")[:SECONDS] + "~")


def index_day(moment: Moment, believed: Window | None) -> str:
    """Return the day of a moment's index: its own, or :data:`MISDATED` outside of what is believed (``None``: all)."""
    if believed is not None and not believed.first <= moment.text <= believed.last:
        return MISDATED
    return moment.day
