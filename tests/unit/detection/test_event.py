"""Documents as the server sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loader.detection import evaluate
from loader.detection.attack import threat
from loader.detection.compile import compile_rules
from loader.detection.event import Event, split_leaf
from loader.detection.fields import schema_of
from loader.detection.load import load_rules
from loader.detection.sources import AWS_CLOUDTRAIL
from loader.detection.testing import Unreadable, matches_of, read_event, read_files
from loader.project import rules_dir

SCHEMA = schema_of(AWS_CLOUDTRAIL)
ODD: dict[str, Any] = {
    "eventTime": "2026-01-01T00:00:00Z",
    "eventName": "x",
    "eventSource": "iam.amazonaws.com",
    "readOnly": "maybe",
    "errorCode": None,
    "newKey": {"a": [1, None, {"b=c": "d"}]},
    "userIdentity": {"type": "Root", "odd": {"x\\y": True}},
    "tlsDetails": {"tlsVersion": "TLSv1.3"},
    "requestParameters": json.loads('{"a":' * 25 + '"deep"' + "}" * 25),
    "responseElements": "HIDDEN",
}


LEAVES = {
    "a.b=c=d": ("a.b", "c=d"),
    "a": ("a", None),
    "a\\=b=c": ("a\\=b", "c"),
    "a\\\\=c": ("a\\\\", "c"),
    "a=": ("a", ""),
}


@pytest.mark.parametrize(("leaf", "parts"), LEAVES.items())
def test_leaves_are_split_at_the_first_bare_equals(leaf: str, parts: tuple[str, str | None]) -> None:
    assert split_leaf(leaf) == parts


def test_a_stored_source_gives_the_leaves_that_were_sent() -> None:
    _, sent = read_event(json.dumps(ODD).encode())
    stored = json.loads(json.dumps(sent.source))
    del stored["aws"]["cloudtrail"]["leaves"]
    assert sorted(Event(stored, SCHEMA).leaves(), key=str) == sorted(sent.leaves(), key=str)


def payloads(document: Any) -> list[tuple[str, str | None]]:
    """Return the leaves rules can name (others, of empty typed objects, are for people's searches only)."""
    roots = AWS_CLOUDTRAIL.payloads.roots if AWS_CLOUDTRAIL.payloads else ()
    return sorted((leaf for leaf in Event(document, SCHEMA).leaves() if leaf[0].startswith(roots)), key=str)


@pytest.mark.reference_data
def test_real_records_give_the_same_leaves_and_at_least_three_rules_fire(reference_data: Path) -> None:
    files = sorted((reference_data / "invictus-aws_dataset" / "CloudTrail").glob("*.json"))
    names = (
        "root_use",
        "trail_changed",
        "unauthorized_call",
        "policy_change",
        "started_or_stopped",
        "network_path_changed",
    )
    ours = [path for path in sorted((rules_dir() / "cloudtrail").glob("*.yml")) if path.stem.endswith(names)]
    pack = compile_rules(load_rules(ours))
    assert len(pack.rules) == 6
    counts: dict[str, int] = {}
    for found in read_files(files):
        assert not isinstance(found, Unreadable)
        for match in matches_of(found, pack):
            counts[match.rule.name] = counts.get(match.rule.name, 0) + 1
            stored = json.loads(json.dumps(match.document))
            stored["aws"]["cloudtrail"].pop("leaves", None)
            assert payloads(stored) == payloads(match.document)
    assert counts == {
        "aws_cloudtrail_trail_changed": 8,
        "aws_cloudtrail_unauthorized_call": 60,
        "aws_ec2_instance_started_or_stopped": 4,
        "aws_ec2_network_path_changed": 69,
        "aws_iam_policy_change": 41,
    }


def test_values_are_found_through_arrays_dotted_keys_and_aliases() -> None:
    source = {"event.id": "1", "aws": {"cloudtrail": {"resources": [{"arn": "a"}, {"arn": ["b", None]}]}}}
    event = Event(source, SCHEMA)
    assert event.stored("aws.cloudtrail.resources.arn") == ["a", "b"]
    assert evaluate.matches({"term": {"@id": "1"}}, event)


def test_values_too_long_for_the_index_are_not_there() -> None:
    source = {"event": {"action": "x" * 8192}}
    assert not evaluate.matches({"exists": {"field": "event.action"}}, source)
    assert evaluate.matches({"exists": {"field": "event.action"}}, {"event": {"action": "x" * 8191}})


def test_a_query_of_another_dialect_is_refused() -> None:
    for query in ({"match": {"event.action": "x"}}, {"term": {"no.field": 1}}, {"siem": {"leaf": "a"}}):
        with pytest.raises(ValueError):
            evaluate.matches(query, {"event": {"action": "x"}})


def test_attack_tags_in_old_and_new_spelling() -> None:
    found = threat(["attack.initial_access", "attack.Initial-Access", "attack.t1078.004", "attack.g0007", "cve.2021-1"])
    assert [tactic.id for tactic in found.tactics] == ["TA0001"]
    assert found.techniques[0].reference == "https://attack.mitre.org/techniques/T1078/004/"
