"""Distances, journeys, and the look-up in databases of MaxMind's format, which are written here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from loader.detection.geo_database import open_places, place_of
from loader.detection.places import UNKNOWN_RADIUS_KM, Place, Sighting, Traveller, distance_km, is_public
from loader.errors import ConfigError

BERLIN, NEW_YORK = Place(52.52, 13.40, 0), Place(40.71, -74.01, 0)
HOUR = 3_600_000
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(records: dict[str, Any], name: str = "city.mmdb", kind: str = "Test-City", version: int = 6) -> Path:
        writer = MMDBWriter(version, kind, languages=["en"], ipv4_compatible=version == 6)
        for network, record in records.items():
            writer.insert_network(IPSet([network]), record)
        writer.to_db_file(str(tmp_path / name))
        return tmp_path / name

    return write


def record(north: float, east: float, radius: int | None = 20, city: str = "Berlin", country: str = "DE") -> Any:
    location: dict[str, Any] = {"latitude": north, "longitude": east}
    if radius is not None:
        location["accuracy_radius"] = radius
    return {"city": {"names": {"en": city}}, "country": {"iso_code": country}, "location": location}


def test_distances_are_those_of_the_globe() -> None:
    assert distance_km(BERLIN, NEW_YORK) == pytest.approx(6385, abs=10)
    assert distance_km(Place(0, 179.5, 0), Place(0, -179.5, 0)) == pytest.approx(111.2, abs=0.1), "over the date line"
    assert distance_km(Place(90, 0, 0), Place(-90, 77, 0)) == pytest.approx(20015, abs=1), "pole to pole"
    assert distance_km(BERLIN, BERLIN) == 0


def test_what_is_not_known_of_a_place_is_no_distance() -> None:
    assert distance_km(BERLIN, Place(40.71, -74.01, 1000)) == pytest.approx(5385, abs=10)
    assert distance_km(Place(52.52, 13.40, 200), Place(50.11, 8.68, 300)) == 0, "the circles touch"


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "::1"])
def test_private_and_reserved_addresses_are_no_places(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("name", ["cloudformation.amazonaws.com", "AWS Internal", "", "8.8.8.8, 1.1.1.1"])
def test_a_services_name_is_no_address(name: str) -> None:
    assert not is_public(name)


def test_an_intruders_call_among_the_owners_is_found_past_a_call_from_elsewhere() -> None:
    """Neighbours alone would not do: Berlin, an unlikely but possible Paris, New York too soon after Berlin."""
    traveller = Traveller(12 * HOUR, 500, 1000)
    paris = Place(48.86, 2.35, 0)
    for time, place in ((0, BERLIN), (HOUR, paris)):
        sighting = Sighting("x", place)
        traveller.see(time, [(time, sighting)])
        assert traveller.journey_to(time, sighting) is None
    here = Sighting("y", NEW_YORK)
    traveller.see(6 * HOUR, [(9, here)])
    found = traveller.journey_to(6 * HOUR, here)
    assert found is not None
    assert found[0].start.place == paris
    assert found[0].speed_kmh > 1000


def test_the_database_names_places_and_their_errors(write: Write) -> None:
    find = open_places(
        write({"2.0.0.0/16": record(52.52, 13.4), "2003::/32": record(40.7, -74, None, "New York", "US")})
    )
    assert find is not None
    assert find("2.0.3.4") == Place(52.52, 13.4, 20, "Berlin, DE")
    assert find("2003::7") == Place(40.7, -74, UNKNOWN_RADIUS_KM, "New York, US")
    assert find("2.1.0.1") is None
    assert find("ec2.amazonaws.com") is None


def test_a_private_address_has_no_place_whatever_the_database_says(write: Write) -> None:
    find = open_places(write({"10.0.0.0/8": record(1, 1)}))
    assert find is not None
    assert find("10.0.0.1") is None


def test_an_ipv6_address_in_a_database_of_ipv4(write: Write) -> None:
    find = open_places(write({"2.0.0.0/16": record(1, 1)}, version=4))
    assert find is not None
    assert find("2003::7") is None


def test_addresses_of_clouds_are_left_out_where_a_second_database_tells(write: Write) -> None:
    city = write({"2.0.0.0/15": record(1, 1)})
    asn = write({"2.0.0.0/16": {"autonomous_system_number": 16509}}, "asn.mmdb", "Test-ASN")
    find = open_places(city, asn)
    assert find is not None
    assert find("2.0.0.1") is None
    assert find("2.1.0.1") is not None


def test_a_database_that_was_replaced_is_opened_anew(write: Write, tmp_path: Path) -> None:
    path = write({"2.0.0.0/16": record(1, 1)})
    before = open_places(path)
    shutil.move(write({"2.0.0.0/16": record(2, 2)}, "new.mmdb"), path)
    os.utime(path, (1, 1))
    after = open_places(path)
    assert before is not None
    assert after is not None
    assert (before("2.0.0.1"), after("2.0.0.1")) == (Place(1, 1, 20, "Berlin, DE"), Place(2, 2, 20, "Berlin, DE"))


def test_no_setting_is_no_look_up() -> None:
    assert open_places(None) is None


def test_what_is_no_database_is_said_with_its_path(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        open_places(tmp_path / "none.mmdb")
    assert "SIEM_GEOIP_DATABASE" in str(caught.value.hint)
    (tmp_path / "text.mmdb").write_text("no database")
    with pytest.raises(ConfigError, match="cannot be read"):
        open_places(tmp_path / "text.mmdb")
    with pytest.raises(ConfigError, match="no places of cities"):
        open_places(write({"2.0.0.0/16": {"autonomous_system_number": 1}}, "asn.mmdb", "Test-ASN"))


@pytest.mark.parametrize("found", [None, {}, {"location": {}}, {"location": {"latitude": 1}}, {"location": "here"}])
def test_a_record_without_coordinates_is_no_place(found: Any) -> None:
    assert place_of(found) is None
