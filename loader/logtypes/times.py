"""Times as AWS writes them → times as the index takes them. No clock is read here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

_UTC: Final = timezone.utc
_TIME: Final = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[Tt ](\d\d):?(\d\d):?(\d\d)(?:[.,](\d{1,30}))?\s?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)
#: The form that is passed on as it is: RFC 3339 in UTC, nanoseconds at most.
_CANONICAL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII)
#: ``…_20230710T1145Z_…`` in an object's key: when CloudTrail delivered it, in UTC.
#: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
_DELIVERY: Final = re.compile(r"_(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)Z_", re.ASCII)

_BEFORE_DELIVERY: Final = 7 * 86400
_AFTER_DELIVERY: Final = 3600


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time. ``text`` is RFC 3339 in UTC, ``epoch`` whole seconds since 1970, ``day`` ``YYYY.MM.DD``.

    ``exact`` is true when ``text`` is the text that was parsed.
    """

    text: str
    epoch: int
    day: str
    exact: bool


@lru_cache(maxsize=4096)
def parse_time(text: str) -> Moment | None:
    """Return the moment that ``text`` names, ``None`` if it names none.

    Understood are RFC 3339 and the basic form ``20230710T114500Z``, with any fraction and offset. Without an offset it
    is UTC, which is all that CloudTrail writes. What is finer than a nanosecond is cut.
    """
    match = _TIME.fullmatch(text) if len(text) <= 64 else None
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
    exact = _CANONICAL.fullmatch(text) is not None
    canonical = text
    if not exact:
        tail = f".{fraction[:9]}Z" if fraction else "Z"
        canonical = f"{moment.year:04}-{moment:%m-%dT%H:%M:%S}{tail}"
    return Moment(canonical, int(moment.timestamp()), f"{moment.year:04}.{moment:%m.%d}", exact)


def delivery(key: str) -> Moment | None:
    """Return when the object with this key was delivered, ``None`` if the key does not say."""
    match = _DELIVERY.search(key, key.rfind("/") + 1)
    return parse_time("{}-{}-{}T{}:{}:00Z".format(*match.groups())) if match else None


def is_misdated(event: Moment, delivered: Moment) -> bool:
    """Return whether an event's time is too far from its object's delivery to be believed for an index's name.

    Believed are 7 days before to 1 hour after the delivery.
    """
    return not delivered.epoch - _BEFORE_DELIVERY <= event.epoch <= delivered.epoch + _AFTER_DELIVERY
