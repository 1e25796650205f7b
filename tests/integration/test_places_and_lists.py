"""Rules that need a geo database or a filled list, from the pack, on a real server; the database is made here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from opensearchpy import OpenSearch

from loader.detection.compile import Pack, compile_rules
from loader.detection.geo_database import open_places
from loader.detection.load import load_rules
from loader.detection.offline import triggers
from loader.detection.places import Places
from loader.detection.run import RunOptions, run_once
from loader.detection.testing import read_event
from loader.project import rules_dir

pytestmark = pytest.mark.integration

START = datetime(2026, 5, 4, 10, 0, tzinfo=timezone.utc)
#: Addresses that are nobody's in particular: the database below says where they are.
BERLIN, POTSDAM, SYDNEY = "2.16.1.10", "2.16.2.20", "1.40.3.30"


class StandingClock:
    """A clock that stands a day after the events."""

    def now(self) -> datetime:
        return START + timedelta(days=1)

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        pass


@pytest.fixture
def places(tmp_path: Path) -> Places | None:
    writer = MMDBWriter(6, "Test-City", languages=["en"], ipv4_compatible=True)
    for network, north, east, city in (
        ("2.16.1.0/24", 52.52, 13.40, "Berlin"),
        ("2.16.2.0/24", 52.39, 13.06, "Potsdam"),
        ("1.40.0.0/16", -33.87, 151.21, "Sydney"),
    ):
        location = {"latitude": north, "longitude": east, "accuracy_radius": 20}
        writer.insert_network(IPSet([network]), {"city": {"names": {"en": city}}, "location": location})
    writer.to_db_file(str(tmp_path / "city.mmdb"))
    return open_places(tmp_path / "city.mmdb")


def sign_in(minute: int, address: str, user: str = "alice", event: str = "ConsoleLogin") -> dict[str, Any]:
    identity = {"type": "IAMUser", "arn": f"arn:aws:iam::111122223333:user/{user}", "accountId": "111122223333"}
    return {
        "eventVersion": "1.11",
        "userIdentity": {**identity, "userName": user},
        "eventTime": (START + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "signin.amazonaws.com",
        "eventName": event,
        "awsRegion": "eu-central-1",
        "sourceIPAddress": address,
        "userAgent": "Mozilla/5.0",
        "responseElements": {"ConsoleLogin": "Success"},
        "eventID": f"{minute}-{address}-{user}",
        "eventType": "AwsConsoleSignIn",
        "eventCategory": "Management",
    }


def pack_of(*names: str, **more: Any) -> Pack:
    files = [path for name in names for path in rules_dir().rglob(f"{name}.yml")]
    assert len(files) == len(names)
    return compile_rules(load_rules(files), **more)


def put(client: OpenSearch, records: list[dict[str, Any]]) -> None:
    lines: list[Any] = []
    for record in records:
        identifier, event = read_event(orjson.dumps(record))
        index = "log-aws-cloudtrail-" + record["eventTime"][:10].replace("-", ".")
        lines += [{"create": {"_index": index, "_id": identifier}}, event.source]
    answer = client.bulk(body=lines)
    assert not answer["errors"], answer


def alerts(client: OpenSearch) -> list[Mapping[str, Any]]:
    client.indices.refresh(index="siem-alerts-*", params={"ignore_unavailable": "true"})
    hits = client.search(index="siem-alerts-*", body={"size": 100})["hits"]["hits"]
    return [hit["_source"] for hit in hits]


def test_the_scheduler_and_the_offline_run_agree_on_journeys(templates: OpenSearch, places: Places) -> None:
    pack = pack_of("aws_signin_impossible_travel", places=places)
    first = [sign_in(0, BERLIN), sign_in(20, POTSDAM), sign_in(30, "10.1.2.3"), sign_in(600, SYDNEY, "bob")]
    options, clock = RunOptions(start="past"), StandingClock()
    put(templates, first)
    report = run_once(templates, pack.alerting, clock=clock, options=options)
    assert report.errors == {}
    assert alerts(templates) == []
    # It arrives last and happened between the others: the journeys there and back are found then.
    late = [sign_in(10, SYDNEY)]
    put(templates, late)
    report = run_once(templates, pack.alerting, clock=clock, options=options)
    assert report.errors == {}
    (alert,) = alerts(templates)
    assert alert["rule"]["id"] == "aws_signin_impossible_travel"
    assert alert["siem"]["group"] == {"aws.cloudtrail.user_identity.arn": "arn:aws:iam::111122223333:user/alice"}
    assert alert["siem"]["evidence_total"] == 3, "those two make a pair with Sydney; the private address none"
    assert "(Sydney)" in alert["event"]["reason"]
    assert "km/h" in alert["event"]["reason"]
    (correlation,) = pack.correlations
    offline = triggers(correlation, [read_event(orjson.dumps(record))[1] for record in first + late])
    assert len(offline) == alert["siem"]["suppressed"] + 1


def test_one_moment_in_two_places(templates: OpenSearch, places: Places) -> None:
    put(templates, [sign_in(0, BERLIN), sign_in(0, SYDNEY)])
    pack = pack_of("aws_signin_impossible_travel", places=places)
    run_once(templates, pack.alerting, clock=StandingClock(), options=RunOptions(start="past"))
    (alert,) = alerts(templates)
    assert "at one moment" in alert["event"]["reason"]


def test_a_long_list_of_addresses_and_networks_is_one_query(templates: OpenSearch) -> None:
    listed = [f"203.{n // 250}.{n % 250}.7" for n in range(5000)] + [f"198.51.{n}.0/24" for n in range(200)]
    put(templates, [sign_in(0, "203.19.3.7"), sign_in(1, "198.51.9.1", "bob"), sign_in(2, "203.19.3.8", "carol")])
    pack = pack_of("aws_any_call_from_known_bad_address", variables={"known_bad_addresses": listed})
    report = run_once(templates, pack.alerting, clock=StandingClock(), options=RunOptions(start="past"))
    assert report.errors == {}
    assert {alert["source"]["ip"] for alert in alerts(templates)} == {"203.19.3.7", "198.51.9.1"}


def test_what_lacks_its_data_is_not_run_and_is_no_error(templates: OpenSearch) -> None:
    put(templates, [sign_in(0, BERLIN), sign_in(1, SYDNEY)])
    pack = pack_of("aws_signin_impossible_travel", "aws_any_call_from_known_bad_address")
    assert {one.rule.name for one in pack.waiting} == {
        "aws_signin_impossible_travel",
        "aws_any_call_from_known_bad_address",
    }
    report = run_once(templates, pack.alerting, clock=StandingClock(), options=RunOptions(start="past"))
    assert report.errors == {}
    assert report.rules == []
