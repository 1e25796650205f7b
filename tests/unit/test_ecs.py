"""What this project says of ECS is what ECS says of itself: its machine-readable schema, in ``tests/schemas``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loader import ecs
from loader.index.templates import read_templates
from loader.logtypes import cloudtrail_taxonomy
from loader.logtypes.cloudtrail_taxonomy import Class, classify
from tests.unit.logtypes.conformance import read_mapping

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "tests" / "schemas" / f"ecs-{ecs.ECS_VERSION}.json").read_bytes())
GOLDEN = sorted((ROOT / "tests" / "golden" / "cloudtrail").glob("*.out.json"))

#: Ours, and nobody's in ECS: https://www.elastic.co/docs/reference/ecs/ecs-custom-fields-in-ecs
OWN = ("aws.", "siem.", "@id", "@log_type", "@log_s3bucket", "@log_s3key")
#: Fields that stand under a name of ECS's and are not in it.
NOT_IN_ECS = {"user.type": "what kind of identity acted, as in userIdentity.type; ECS has no field for it"}
#: Fields of another type than ECS's, and why.
OTHER_TYPE = {
    "user_agent.original": ("wildcard", "long free text that rules search in the middle; of the keyword family"),
    "message": ("text", "match_only_text is not in every OpenSearch that is supported"),
    "rule.description": ("text", "sentences"),
    "event.risk_score": ("double", "a wider float"),
}


def mapped(properties: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Each field of a mapping and its type; sub-fields are ways to search and no fields."""
    for name, body in properties.items():
        if "properties" in body:
            yield from mapped(body["properties"], f"{path}{name}.")
        else:
            yield f"{path}{name}", body["type"]


def test_the_version_is_the_schema_s() -> None:
    assert SCHEMA["version"] == ecs.ECS_VERSION


def test_allowed_values_are_the_schema_s() -> None:
    assert sorted(ecs.KINDS) == SCHEMA["values"]["event.kind"]
    assert sorted(ecs.OUTCOMES) == SCHEMA["values"]["event.outcome"]
    assert sorted(ecs.TYPES) == SCHEMA["values"]["event.type"]
    assert {name: sorted(types) for name, types in ecs.TYPES_OF_CATEGORY.items()} == SCHEMA["types_of_category"]


@pytest.mark.parametrize("template", ["log-aws-cloudtrail", "siem-alerts"])
def test_every_mapped_field_is_ecs_s_or_named_as_ours(template: str) -> None:
    properties = (
        read_mapping(template)
        if template.startswith("log-")
        else next(found for found in read_templates() if found.name == template).body["template"]["mappings"][
            "properties"
        ]
    )
    fields = dict(mapped(properties))
    assert len(fields) > 40
    for name, kind in fields.items():
        if name.startswith(OWN) or name in NOT_IN_ECS:
            assert name not in SCHEMA["fields"], f"{name} is in ECS after all"
            continue
        assert name in SCHEMA["fields"], f"{name} is not in ECS {ecs.ECS_VERSION}"
        expected = OTHER_TYPE.get(name, (SCHEMA["fields"][name],))[0]
        assert kind == expected, name


def test_every_row_of_the_taxonomy_is_a_pair_that_ecs_allows() -> None:
    rows = {**cloudtrail_taxonomy.TABLE, ("", "insight"): cloudtrail_taxonomy.INSIGHT}
    rows["", "allowed"] = cloudtrail_taxonomy.ENDPOINT_ALLOWED
    rows["", "denied"] = cloudtrail_taxonomy.ENDPOINT_DENIED
    for (service, name), found in rows.items():
        assert is_allowed(found), (service, name, found)


def test_every_verb_on_every_service_is_a_pair_that_ecs_allows() -> None:
    things = ("", "User", "Users", "Group", "UserToGroup", "Vpc", "Instance", "LoginProfile", "Password", "Thing")
    services = {*cloudtrail_taxonomy._SERVICES, "ec2", "iam", "identitystore", "sso-directory", "new-service"}
    for service in sorted(services):
        for verb in sorted({*cloudtrail_taxonomy._VERBS, "Frobnicate", "x", ""}):
            for thing in things:
                found = classify(f"{service}.amazonaws.com", f"{verb}{thing}")
                assert is_allowed(found), (service, verb, thing, found)


def is_allowed(found: Class) -> bool:
    allowed = SCHEMA["types_of_category"]
    return bool(found.category) and all(
        kind in allowed[category] for category in found.category for kind in found.type or ("none",)
    )


def test_golden_documents_hold_values_that_ecs_allows() -> None:
    assert len(GOLDEN) > 50
    for path in GOLDEN:
        document = json.loads(path.read_bytes())
        event = document["event"]
        assert document["ecs"] == {"version": SCHEMA["version"]}, path.name
        assert event["kind"] in SCHEMA["values"]["event.kind"], path.name
        assert event["outcome"] in SCHEMA["values"]["event.outcome"], path.name
        assert is_allowed(Class(tuple(event["category"]), tuple(event["type"]))), path.name
        for name, value in values_of(document, ""):
            if name in SCHEMA["arrays"]:
                assert isinstance(value, list), f"{path.name}: {name} is no array"
            elif name in SCHEMA["fields"]:
                assert not isinstance(value, list), f"{path.name}: {name} is an array"


def values_of(document: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from values_of(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
