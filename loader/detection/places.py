"""Places on the globe, and whether somebody can have been at two of them. Pure: who looks addresses up is handed in.

A place is known with an error (``radius_km``): two circles are as far apart as their nearest points, so a wrong guess
within the errors never makes a journey.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from math import asin, cos, inf, radians, sin, sqrt

#: Mean radius of the Earth (IUGG), in kilometres.
_EARTH_KM = 6371.0088
#: The error of a place whose source names none, in kilometres: wider than a city with its surroundings.
UNKNOWN_RADIUS_KM = 100.0


@dataclass(frozen=True, slots=True)
class Place:
    """Degrees north and east, and within how many kilometres the truth lies. ``name`` is for people only."""

    latitude: float
    longitude: float
    radius_km: float = UNKNOWN_RADIUS_KM
    name: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An address, and where it is."""

    address: str
    place: Place


#: Says where an address is; ``None`` when that is not known, or says nothing about people (a cloud's address).
Places = Callable[[str], Place | None]


@dataclass(frozen=True, slots=True)
class Journey:
    """From one sighting to another: at least ``distance_km`` in ``milliseconds``."""

    start: Sighting
    end: Sighting
    distance_km: float
    milliseconds: int

    @property
    def speed_kmh(self) -> float:
        """Return the least speed it takes; infinite when both are of one moment."""
        return self.distance_km / (self.milliseconds / 3_600_000) if self.milliseconds else inf


def distance_km(one: Place, other: Place) -> float:
    """Return the least distance between two places in kilometres: great circle, less what is not known of either.

    >>> round(distance_km(Place(52.52, 13.40, 0), Place(40.71, -74.01, 0)), -1)
    6390.0
    """
    north, other_north = radians(one.latitude), radians(other.latitude)
    east = radians(other.longitude - one.longitude)
    chord = sin((other_north - north) / 2) ** 2 + cos(north) * cos(other_north) * sin(east / 2) ** 2
    between = 2 * _EARTH_KM * asin(min(1.0, sqrt(chord)))
    return max(0.0, between - one.radius_km - other.radius_km)


def is_public(address: str) -> bool:
    """Say whether ``address`` is one of the public Internet: no private or reserved one, no name of a service."""
    try:
        return ip_address(address).is_global
    except ValueError:
        return False


class Traveller:
    """Sightings of somebody in the order of time, and the journeys that nobody makes.

    Every pair within ``span`` milliseconds is looked at, not only neighbours: an intruder's calls lie between those
    of the owner, and a call from somewhere else in between must not hide them. So one more sighting can only add
    journeys. Of each place its latest sighting is kept, because the latest makes the fastest journey.
    """

    def __init__(self, span: int, least_km: float, fastest_kmh: float) -> None:
        self._span = span
        self._least_km = least_km
        self._fastest_kmh = fastest_kmh
        #: Place → when it was seen last, what was seen, and whose position that is; the latest at the end.
        self._seen: OrderedDict[Place, tuple[int, Sighting, int]] = OrderedDict()
        #: Places that were looked at when they were seen last, and found possible then: when.
        self._possible: dict[Place, int] = {}

    def see(self, time: int, sightings: Sequence[tuple[int, Sighting]]) -> None:
        """Take in what was seen at ``time``, each with its position."""
        for position, sighting in sightings:
            self._seen[sighting.place] = (time, sighting, position)
            self._seen.move_to_end(sighting.place)
        while self._seen and next(iter(self._seen.values()))[0] < time - self._span:
            place, _ = self._seen.popitem(last=False)
            self._possible.pop(place, None)

    def journey_to(self, time: int, sighting: Sighting) -> tuple[Journey, int] | None:
        """Return the impossible journey from the place seen last to ``sighting``, and the position it began at."""
        # From what was there when this place was last looked at, it takes longer now: it still is possible.
        since = self._possible.get(sighting.place, time - self._span)
        for place, (when, start, position) in reversed(self._seen.items()):
            if when < since:
                break
            if place == sighting.place:
                continue
            far = distance_km(place, sighting.place)
            journey = Journey(start, sighting, far, time - when)
            if far >= self._least_km and journey.speed_kmh > self._fastest_kmh:
                self._possible.pop(sighting.place, None)
                return journey, position
        self._possible[sighting.place] = time
        return None


def static_places(known: Mapping[str, Place]) -> Places:
    """Return a look-up of nothing but ``known``: for tests, which must not depend on anybody's database."""
    return lambda address: known.get(address)


def parse_places(content: object) -> dict[str, Place]:
    """Read ``{"203.0.113.7": {"latitude": …, "longitude": …, "radius_km": …, "name": …}}``.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(content, Mapping):
        raise ValueError("places must be a map of address to place")
    return dict(_parsed(content))


def _parsed(content: Mapping[str, object]) -> Iterator[tuple[str, Place]]:
    for address, entry in content.items():
        if not isinstance(entry, Mapping) or not set(entry) <= set(Place.__dataclass_fields__):
            raise ValueError(f"{address}: a place has latitude, longitude, radius_km and name")
        try:
            yield address, Place(**entry)
        except TypeError:
            raise ValueError(f"{address}: a place needs latitude and longitude") from None
