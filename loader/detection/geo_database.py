"""Where addresses are, by a local database in MaxMind's format (GeoLite2-City, DB-IP City and others). No network.

Format: https://maxmind.github.io/MaxMind-DB/. Nothing is opened before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.detection.places import UNKNOWN_RADIUS_KM, Place, Places, is_public
from loader.errors import ConfigError

if TYPE_CHECKING:
    import maxminddb

#: Autonomous systems whose addresses say nothing about where a person is: AWS (16509, 14618, 8987, 7224, 62785),
#: Google (15169, 396982, 19527) and Microsoft (8075). Build runners, cloud shells and browsers' relays live there.
#: https://www.peeringdb.com/ lists them.
CLOUD_ASNS = frozenset((7224, 8075, 8987, 14618, 15169, 16509, 19527, 62785, 396982))
#: Answers kept: the addresses of a day's actors, many times over.
_KEPT = 65_536


def open_places(city: Path | None, asn: Path | None = None) -> Places | None:
    """Return the look-up of the databases at ``city`` and ``asn``; ``None`` without ``city``.

    A file that was replaced meanwhile is opened anew: call this whenever rules are read.

    Raises:
        ConfigError: a file cannot be read, or is no such database.
    """
    if city is None:
        return None
    return _open(city, _version(city, "SIEM_GEOIP_DATABASE"), asn, _version(asn, "SIEM_GEOIP_ASN_DATABASE"))


def _version(path: Path | None, setting: str) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError as error:
        hint = f"{setting} names it; unset it to run without."
        raise ConfigError(f"the geo database cannot be read: {error.strerror}", where=str(path), hint=hint) from None
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def _open(city: Path, _city_version: object, asn: Path | None, _asn_version: object) -> Places:
    cities, networks = _reader(city), _reader(asn) if asn else None
    if "city" not in cities.metadata().database_type.lower():
        kind = cities.metadata().database_type
        hint = "Use GeoLite2-City.mmdb, dbip-city-lite.mmdb or another whose type names a city."
        raise ConfigError(f"the geo database has no places of cities, it is a {kind}", where=str(city), hint=hint)

    @lru_cache(maxsize=_KEPT)
    def find(address: str) -> Place | None:
        if not is_public(address) or (networks and _is_cloud(networks, address)):
            return None
        return place_of(_record(cities, address, city))

    return find


def _reader(path: Path) -> maxminddb.Reader:
    import maxminddb  # only who has a database pays for it

    try:
        return maxminddb.open_database(path)
    except (OSError, maxminddb.InvalidDatabaseError) as error:
        hint = "It must be a file in MaxMind's format (.mmdb), unpacked."
        raise ConfigError(f"the geo database cannot be read: {error}", where=str(path), hint=hint) from None


def _record(reader: maxminddb.Reader, address: str, path: Path) -> object:
    import maxminddb

    try:
        return reader.get(address)
    except ValueError:  # an IPv6 address, and the database holds IPv4 only
        return None
    except maxminddb.InvalidDatabaseError as error:
        raise ConfigError(f"the geo database is damaged: {error}", where=str(path), hint="Download it again.") from None


def _is_cloud(reader: maxminddb.Reader, address: str) -> bool:
    try:
        found = reader.get(address)
    except ValueError:
        return False
    return isinstance(found, Mapping) and found.get("autonomous_system_number") in CLOUD_ASNS


def place_of(record: object) -> Place | None:
    """Return the place in one record of a City database; ``None`` when it has no coordinates.

    https://dev.maxmind.com/geoip/docs/databases/city-and-country: ``location.accuracy_radius`` is in kilometres. A
    database without it (DB-IP's free one) is taken to be right within ``UNKNOWN_RADIUS_KM``.
    """
    location = _map(record, "location")
    north, east = location.get("latitude"), location.get("longitude")
    if not isinstance(north, (int, float)) or not isinstance(east, (int, float)):
        return None
    radius = location.get("accuracy_radius")
    names = [_map(_map(record, "city"), "names").get("en"), _map(record, "country").get("iso_code")]
    return Place(
        float(north),
        float(east),
        float(radius) if isinstance(radius, (int, float)) else UNKNOWN_RADIUS_KM,
        ", ".join(str(name) for name in names if name),
    )


def _map(node: Any, key: str) -> Mapping[str, Any]:
    found = node.get(key) if isinstance(node, Mapping) else None
    return found if isinstance(found, Mapping) else {}
