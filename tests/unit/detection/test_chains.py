"""Correlations as they are compiled: references, fields, conditions, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.detection.compile import Pack, compile_rules
from loader.detection.correlation import Tree
from loader.detection.load import load_rules
from loader.detection.model import CompiledCorrelation, CompiledRule

LOGSOURCE = {"product": "aws", "service": "cloudtrail"}
FAILED = {
    "title": "failed sign-in", "name": "failed", "id": "0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f40", "logsource": LOGSOURCE,
    "detection": {"s": {"eventName": "ConsoleLogin", "errorMessage": "Failed authentication"}, "condition": "s"},
}  # fmt: skip
WORKED = {**FAILED, "name": "worked", "id": "0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f41"}


def pack_of(folder: Path, correlation: dict[str, Any], *others: dict[str, Any]) -> Pack:
    documents = [FAILED, WORKED, *others, {"title": "c", "name": "chain", "correlation": correlation}]
    (folder / "rules.yml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return compile_rules(load_rules([folder]))


COUNT = {
    "type": "event_count",
    "rules": ["failed"],
    "group-by": ["sourceIPAddress", "requestParameters.x"],
    "timespan": "10m",
    "condition": {"gte": 10, "lt": 100},
}


def test_fields_are_mapped_to_where_the_document_has_them(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, COUNT)
    (one,) = pack.correlations
    assert one.group_by == ("source.address", "aws.cloudtrail.flattened.request_parameters.x")
    assert one.seconds == 600
    assert dict(one.condition.bounds) == {"gte": 10.0, "lt": 100.0}
    assert isinstance(one.rules["failed"], CompiledRule)
    # The base rule feeds the correlation and raises no alert of its own; the other one does.
    assert [rule.rule.sigma_name for rule in pack.rules] == ["worked"]
    assert [rule.rule.sigma_name for rule in pack.base_rules] == ["failed"]


def test_generate_lets_base_rules_alert(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, {**COUNT, "generate": True})
    assert len(pack.rules) == 2
    assert pack.base_rules == ()


def test_references_by_id_aliases_and_extended_conditions(tmp_path: Path) -> None:
    pack = pack_of(
        tmp_path,
        {
            "type": "temporal_ordered",
            "rules": [FAILED["id"], "worked"],
            "group-by": ["who"],
            "timespan": "1h",
            "condition": "failed and worked",
            "aliases": {"who": {FAILED["id"]: "sourceIPAddress", "worked": "userIdentity.arn"}},
        },
    )
    (one,) = pack.correlations
    assert one.condition.expression == "failed and worked"
    assert one.group_by == ("who",)
    # Whatever the list and the alias call a rule, it goes by the name that the condition has.
    assert list(one.rules) == ["failed", "worked"]
    assert one.aliases["who"] == {"failed": "source.address", "worked": "aws.cloudtrail.user_identity.arn"}


def test_a_condition_that_names_rules_needs_no_list_of_them(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, {"type": "temporal", "timespan": "1h", "condition": "failed and not worked"})
    (one,) = pack.correlations
    assert list(one.rules) == ["failed", "worked"]
    assert pack.rules == ()


def test_an_outer_group_may_be_an_alias_of_the_inner_one(tmp_path: Path) -> None:
    aliases = {"who": {"failed": "sourceIPAddress", "worked": "userIdentity.arn"}}
    inner = {"type": "temporal", "rules": ["failed", "worked"], "group-by": ["who"], "timespan": "1h",
             "aliases": aliases}  # fmt: skip
    outer = {"type": "event_count", "rules": ["inner"], "group-by": ["who"], "timespan": "1d", "condition": {"gte": 2}}
    pack = pack_of(tmp_path, outer, {"title": "i", "name": "inner", "correlation": inner})
    assert not pack.errors
    chain = next(one for one in pack.correlations if one.rule.sigma_name == "chain")
    assert Tree(chain).routes is not None
    assert sorted(route["who"] for routes in (Tree(chain).routes or {}).values() for route in routes) == [
        "aws.cloudtrail.user_identity.arn",
        "source.address",
    ]


def test_value_counts_over_several_fields_and_chains(tmp_path: Path) -> None:
    inner = {**COUNT, "condition": {"gte": 3}}
    condition = {"field": ["awsRegion", "eventName"], "gt": 2}
    outer = {"type": "value_count", "rules": ["inner"], "timespan": "1d", "condition": condition}
    pack = pack_of(tmp_path, outer, {"title": "i", "name": "inner", "correlation": inner})
    chain = next(one for one in pack.correlations if one.rule.sigma_name == "chain")
    assert chain.condition.fields == ("cloud.region", "event.action")
    assert isinstance(chain.rules["inner"], CompiledCorrelation)
    # What is only consumed raises nothing by itself, unless the one above generates.
    assert [node.rule.sigma_name for node in pack.alerting] == ["worked", "chain"]
    pack = pack_of(tmp_path, {**outer, "generate": True}, {"title": "i", "name": "inner", "correlation": inner})
    assert {node.rule.sigma_name for node in pack.alerting} == {"worked", "chain", "inner"}


@pytest.mark.parametrize("kind", ["new_terms", "spike", "absence"])
def test_our_own_types_are_kept_with_what_they_say(tmp_path: Path, kind: str) -> None:
    (one,) = pack_of(tmp_path, {"type": kind, "rules": ["failed"], "timespan": "1h", "baseline": "28d"}).correlations
    assert one.type == kind
    assert one.extra == {"baseline": "28d"}


TRAVEL = {
    "type": "impossible_travel",
    "rules": ["failed"],
    "group-by": ["userIdentity.arn"],
    "timespan": "12h",
    "distance_km": 500,
    "speed_kmh": 1000,
    "condition": {"field": "sourceIPAddress"},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"distance_km": None}, "distance_km"),
        ({"speed_kmh": "fast"}, "speed_kmh"),
        ({"speed_kmh": 0}, "speed_kmh"),
        ({"condition": {"gte": 1}}, "field"),
        ({"condition": {"field": ["sourceIPAddress", "awsRegion"]}}, "field"),
    ],
)
def test_a_journey_needs_its_limits_and_one_field(tmp_path: Path, change: Any, said: str) -> None:
    assert not pack_of(tmp_path, TRAVEL).errors
    (problem,) = pack_of(tmp_path, {**TRAVEL, **change}).errors
    assert said in problem.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "sudden"}, "sudden"),
        ({"rules": ["nobody"]}, "nobody"),
        ({"rules": ["chain"]}, "itself"),
        ({"rules": []}, "no rules"),
        ({"timespan": None}, "time span"),
        ({"group-by": ["sourceIPAdress"]}, "sourceIPAdress"),
        ({"condition": {"gte": "many"}}, "number"),
        ({"condition": {"gte": 1, "about": 2}}, "about"),
        ({"condition": {}}, "condition"),
        ({"condition": "failed and worked"}, "temporal"),
        ({"type": "value_count"}, "field"),
        ({"type": "value_percentile", "condition": {"field": "awsRegion", "gt": 1}}, "percentile"),
        ({"aliases": {"a": {"worked": "awsRegion"}}}, "worked"),
        ({"rules": ["failed", "worked"], "group-by": ["a"], "aliases": {"a": {"worked": "awsRegion"}}}, "failed"),
        ({"rules": ["failed", FAILED["id"]]}, "twice"),
        ({"condition": {"gte": True}}, "True"),
        ({"condition": {"gte": float("nan")}}, "nan"),
        ({"type": "value_sum", "condition": {"gte": 1, "field": ["awsRegion", "eventName"]}}, "one field"),
        ({"type": "value_percentile", "condition": {"gte": 1, "field": "awsRegion", "percentile": 101}}, "100"),
        ({"condition": {"gte": 1, "percentile": 5}}, "percentile"),
        ({"type": "temporal", "condition": "failed and (worked"}, "cannot be read"),
        ({"type": "temporal", "condition": "failed and worked"}, "worked"),
        ({"type": "temporal", "rules": ["failed", "worked"], "condition": "failed"}, "worked"),
        ({"type": "temporal", "condition": f"failed or {'x' * 9}"}, "x" * 9),
        ({"type": "temporal_ordered", "rules": ["failed", "worked"], "condition": "failed and not worked"}, "not"),
        ({"type": "spike", "condition": {"gte": 3}}, "baseline"),
        ({"type": "spike", "baseline": "a while", "condition": {"gte": 3}}, "a while"),
        ({"type": "spike", "baseline": "7d", "minimum": "many", "condition": {"gte": 3}}, "many"),
    ],
)
def test_what_cannot_be_honoured_is_an_error_and_never_a_guess(tmp_path: Path, change: Any, said: str) -> None:
    pack = pack_of(tmp_path, {**COUNT, **change})
    (problem,) = pack.errors
    assert said in problem.message
    assert pack.correlations == ()


def test_a_name_that_several_folders_have_is_not_guessed(tmp_path: Path) -> None:
    theirs = {**FAILED, "id": "0d9c7c8e-6a0b-4b0a-9b55-0c5a1d2e3f50"}
    (tmp_path / "theirs.yml").write_text(yaml.safe_dump(theirs))
    pack = pack_of(tmp_path, COUNT)
    assert not pack.errors, "the one in the same file is meant"
    (tmp_path / "rules.yml").write_text(yaml.safe_dump_all([FAILED, WORKED]))
    (tmp_path / "chain.yml").write_text(yaml.safe_dump({"title": "c", "name": "chain", "correlation": COUNT}))
    (problem,) = compile_rules(load_rules([tmp_path])).errors
    assert "theirs.yml:1" in problem.message
    assert "rules.yml:1" in problem.message
    (tmp_path / "chain.yml").write_text(
        yaml.safe_dump({"title": "c", "name": "chain", "correlation": {**COUNT, "rules": [theirs["id"]]}})
    )
    pack = compile_rules(load_rules([tmp_path]))
    assert not pack.errors
    assert [rule.rule.path.name for rule in pack.base_rules] == ["theirs.yml"]


def test_a_key_that_nobody_reads_is_an_error(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, {**COUNT, "baselin": "7d"})
    (problem,) = [problem for problem in pack.problems if problem.severity == "error"]
    assert problem.message == "the correlation has unknown keys: baselin"
    assert problem.hint is not None
    assert "baseline" in problem.hint
