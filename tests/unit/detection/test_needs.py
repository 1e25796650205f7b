"""Rules that lack a list or a geo database are set aside and named; their tests bring their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.detection.compile import compile_rules, load_variables
from loader.detection.evaluate import fires
from loader.detection.load import load_rules
from loader.detection.needs import NO_PLACES, with_networks
from loader.detection.offline import correlation_fires
from loader.detection.places import Place, static_places
from loader.detection.testing import read_event, run_tests

SOURCE = {"product": "aws", "service": "cloudtrail"}
LISTED = {
    "title": "l",
    "name": "listed",
    "logsource": SOURCE,
    "detection": {"s": {"sourceIPAddress|cidr|expand": "%bad%"}, "condition": "s"},
}
ANY = {"title": "a", "name": "any", "logsource": SOURCE, "detection": {"s": {"eventName": "X"}, "condition": "s"}}
TRAVEL = {
    "title": "t",
    "name": "travel",
    "correlation": {
        "type": "impossible_travel",
        "rules": ["any"],
        "group-by": ["userIdentity.arn"],
        "timespan": "12h",
        "distance_km": 500,
        "speed_kmh": 1000,
        "condition": {"field": "sourceIPAddress"},
    },
}


def folder(tmp_path: Path, *documents: Any, tests: Any = None) -> Path:
    (tmp_path / "r.yml").write_text(yaml.safe_dump_all(documents))
    if tests is not None:
        (tmp_path / "r.test.json").write_text(json.dumps(tests))
    return tmp_path


def record(address: str, time: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    identity = {"type": "IAMUser", "arn": "arn:aws:iam::1:user/a"}
    return {
        "eventVersion": "1.11",
        "eventTime": time,
        "eventSource": "sts.amazonaws.com",
        "eventName": "X",
        "eventID": f"{address}{time}",
        "sourceIPAddress": address,
        "userIdentity": identity,
    }


@pytest.mark.parametrize("empty", [[], None])
def test_a_rule_over_an_empty_list_waits_and_says_for_what(tmp_path: Path, empty: Any) -> None:
    pack = compile_rules(load_rules([folder(tmp_path, LISTED)]), variables={"bad": empty})
    assert pack.alerting == ()
    assert pack.errors == ()
    (waiting,) = pack.waiting
    assert waiting.reason == "no data: the list bad is empty (SIEM_RULE_VARIABLES)"


def test_a_list_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    pack = compile_rules(load_rules([folder(tmp_path, LISTED)]), variables={"other": ["1.2.3.4"]})
    (problem,) = pack.errors
    assert "bad" in problem.message


def test_a_filled_list_holds_addresses_and_networks_of_both_kinds(tmp_path: Path) -> None:
    known = {"bad": ["203.0.113.7", "198.51.100.0/24", "2001:db8::/32"]}
    pack = compile_rules(load_rules([folder(tmp_path, LISTED)]), variables=known)
    (rule,) = pack.rules
    assert rule.query["terms"]["source.ip"] == ["203.0.113.7", "198.51.100.0/24", "2001:db8::/32"]
    hit = [a for a in ("203.0.113.7", "203.0.113.8", "198.51.100.9", "2001:db8::1", "ec2.amazonaws.com") if fires(
        rule, read_event(json.dumps(record(a)).encode())[1])]  # fmt: skip
    assert hit == ["203.0.113.7", "198.51.100.9", "2001:db8::1"]


def test_what_is_no_address_in_a_list_is_an_error_of_the_rule(tmp_path: Path) -> None:
    pack = compile_rules(load_rules([folder(tmp_path, LISTED)]), variables={"bad": ["example.org"]})
    assert len(pack.errors) == 1
    assert pack.errors[0].path.name == "r.yml"


def test_networks_are_put_in_wherever_they_are_named() -> None:
    written = [{"a|cidr|expand": ["%x%", "10.0.0.0/8"]}, {"b|expand": "%x%"}]
    assert with_networks(written, {"x": "1.1.1.1"}) == [{"a|cidr": ["1.1.1.1", "10.0.0.0/8"]}, {"b|expand": "%x%"}]


def test_a_users_lists_replace_ours_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("known_bad_addresses: [192.0.2.1]\n")
    found = load_variables(tmp_path / "mine.yml")
    assert found["known_bad_addresses"] == ["192.0.2.1"]
    assert found["anonymising_addresses"] == []


def test_without_places_a_journey_waits_and_so_does_what_rests_on_it(tmp_path: Path) -> None:
    above = {
        "title": "c",
        "name": "above",
        "correlation": {"type": "event_count", "rules": ["travel"], "timespan": "1d", "condition": {"gte": 2}},
    }
    rules = load_rules([folder(tmp_path, TRAVEL, ANY, above)])
    pack = compile_rules(rules, variables={})
    assert {one.rule.sigma_name: one.reason for one in pack.waiting} == {"travel": NO_PLACES, "above": NO_PLACES}
    assert pack.alerting == (), "the base rule raises no alerts of its own meanwhile"
    assert pack.errors == ()
    placed = compile_rules(rules, variables={}, places=static_places({}))
    assert placed.waiting == ()
    assert len(placed.correlations) == 2


def test_a_correlation_over_an_empty_list_waits_with_it(tmp_path: Path) -> None:
    above = {
        "title": "c",
        "name": "above",
        "correlation": {"type": "event_count", "rules": ["listed"], "timespan": "1d", "condition": {"gte": 2}},
    }
    pack = compile_rules(load_rules([folder(tmp_path, LISTED, above)]), variables={"bad": []})
    assert {one.rule.sigma_name for one in pack.waiting} == {"listed", "above"}
    assert pack.errors == ()


def test_tests_bring_their_own_lists_and_places(tmp_path: Path) -> None:
    berlin, sydney = "203.0.113.1", "203.0.113.2"
    histories = {
        "listed": {"variables": {"bad": [berlin]}, "match": [record(berlin)], "near_miss": [record(sydney)]},
        "any": {"match": [record(berlin)], "near_miss": []},
        "travel": {
            "places": {
                berlin: {"latitude": 52.5, "longitude": 13.4},
                sydney: {"latitude": -33.9, "longitude": 151.2, "radius_km": 50, "name": "Sydney"},
            },
            "match": [[record(berlin), record(sydney)]],
            "near_miss": [[record(berlin), record("203.0.113.9")]],
        },
    }
    rules = load_rules([folder(tmp_path, TRAVEL, ANY, LISTED, tests=histories)])
    # What this machine knows of places must not matter.
    for places in (None, static_places({"203.0.113.9": Place(0, 0, 0), berlin: Place(80, 80, 0)})):
        pack = compile_rules(rules, variables={"bad": []}, places=places)
        assert {result.rule.sigma_name: result.failures for result in run_tests(pack, correlation_fires)} == {
            "listed": (),
            "any": (),
            "travel": (),
        }


@pytest.mark.parametrize(
    ("places", "said"), [(None, "needs places"), ({"203.0.113.1": {"latitude": 1}}, "longitude"), ([], "map")]
)
def test_a_journeys_tests_without_usable_places_fail(tmp_path: Path, places: Any, said: str) -> None:
    case = {"match": [[record("203.0.113.1"), record("203.0.113.2")]], "near_miss": []}
    tests = {"travel": case if places is None else {**case, "places": places}, "any": {"match": [], "near_miss": []}}
    pack = compile_rules(load_rules([folder(tmp_path, TRAVEL, ANY, tests=tests)]), variables={})
    (failed,) = (result for result in run_tests(pack, correlation_fires) if not result.passed)
    assert said in failed.failures[0]
