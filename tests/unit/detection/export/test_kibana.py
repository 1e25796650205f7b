"""Kibana's rules: the schema, the time bound, folding, what was refused, and text that looks like code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from loader.detection.compile import compile_rules
from loader.detection.export.bundle import bundle, write_folder
from loader.detection.export.collect import Selection, collect
from loader.detection.export.kibana import KibanaOptions, kibana_rule
from loader.detection.export.model import Export
from loader.detection.load import RuleSet

from .conftest import Made, rule_text

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "kibana-rule.json").read_bytes())


def export(made: Made, options: KibanaOptions = KibanaOptions(), **selection: Any) -> Export:  # noqa: B008
    return collect("kibana", *made, Selection(**selection), lambda node: kibana_rule(node, options))


@pytest.fixture(scope="module")
def whole(whole_pack: Made) -> Export:
    rules: RuleSet = whole_pack[0]
    return export((rules, compile_rules(rules, engine="elasticsearch")))


def body_of(found: Export, name: str) -> dict[str, Any]:
    (body,) = [one.body for one in found.documents if one.rule is not None and one.rule.name == name]
    assert isinstance(body, dict)
    return body


def correlation(title: str, **parts: Any) -> dict[str, Any]:
    content = {key: value for key, value in rule_text(title).items() if key not in ("detection", "logsource")}
    return {**content, "correlation": {"rules": ["base"], "timespan": "10m", **parts}}


def test_every_rule_passes_the_schema_and_is_accounted_for(whole: Export, whole_pack: Made) -> None:
    for document in whole.documents:
        jsonschema.validate(document.body, SCHEMA)
    pack = whole_pack[1]
    assert len(whole.documents) + len(whole.refused) == len(pack.alerting) + len(pack.waiting)
    assert len(whole.documents) > 0.7 * len(pack.alerting)
    ids = {one.body["rule_id"] for one in whole.documents if isinstance(one.body, dict)}
    assert len(ids) == len(whole.documents)
    assert ids == {one.rule.uuid for one in whole.documents if one.rule}


def test_every_rule_looks_back_further_than_the_time_between_runs(whole_pack: Made) -> None:
    for options in (KibanaOptions(), KibanaOptions(every=60, lateness=60)):
        for document in export(whole_pack, options).documents:
            assert isinstance(document.body, dict)
            reach = int(re.fullmatch(r"now-(\d+)s", document.body["from"])[1])  # type: ignore[index]
            assert reach >= options.every * 60 + options.lateness
            if document.body["type"] == "new_terms":
                history = int(re.fullmatch(r"now-(\d+)s", document.body["history_window_start"])[1])  # type: ignore[index]
                assert history > reach


def test_the_import_reads_one_object_a_line(whole: Export, tmp_path: Path) -> None:
    lines = bundle(whole).splitlines()
    assert [json.loads(line)["rule_id"] for line in lines] == [
        one.body["rule_id"] for one in whole.documents if isinstance(one.body, dict)
    ]
    for path in write_folder(whole, tmp_path):
        assert path.read_text(encoding="utf-8").count("\n") == 1


def test_counts_become_thresholds_and_first_appearances_new_terms(whole: Export) -> None:
    brute = body_of(whole, "aws_signin_brute_force")
    assert (brute["type"], brute["threshold"]) == ("threshold", {"field": ["source.address"], "value": 10})
    assert brute["from"] == f"now-{600 + 900 + 300}s"
    assert brute["alert_suppression"] == {"duration": {"value": 1, "unit": "h"}}
    many = body_of(whole, "aws_signin_many_addresses")
    assert many["threshold"]["cardinality"] == [{"field": "source.address", "value": 4}]
    region = body_of(whole, "aws_any_principal_new_region")
    assert region["new_terms_fields"] == ["aws.cloudtrail.user_identity.arn", "cloud.region"]


def test_refusals_name_file_line_and_reason(whole: Export) -> None:
    refused = {one.rule: one for one in whole.refused}
    absent = refused["aws_cloudtrail_account_silent"]
    path, _, line = absent.where.rpartition(":")
    assert "type: absence" in Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    for name, reason in (
        ("aws_iam_access_key_for_other_user", "fieldref"),
        ("aws_ec2_stop_user_data_start", "EQL"),
        ("aws_s3_mass_delete", "payload"),
        ("aws_any_denied_burst", "several fields together"),
        ("aws_signin_impossible_travel", "no geo database"),
        ("aws_any_call_from_known_bad_address", "known_bad_addresses"),
    ):
        assert reason in refused[name].reason, name


@pytest.mark.parametrize(
    ("condition", "threshold"), [({"gte": 3}, 3), ({"gt": 3}, 4), ({"gte": 2, "gt": 3}, 4), ({"lt": 3}, None)]
)
def test_bounds(make: Callable[..., Made], condition: dict[str, int], threshold: int | None) -> None:
    counted = correlation("Many", type="event_count", **{"group-by": ["eventSource"]}, condition=condition)
    found = export(make(counted, rule_text("Base", name="base")))
    if threshold is None:
        assert [one.reason for one in found.refused if "untrue" in one.reason]
    else:
        assert body_of(found, "made")["threshold"]["value"] == threshold


def test_several_base_rules_are_counted_together(make: Callable[..., Made]) -> None:
    more = rule_text(
        "More", name="more", detection={"selection": {"eventName": "DeleteTrail"}, "condition": "selection"}
    )
    counted = correlation("Many", type="event_count", condition={"gte": 3}, rules=["base", "more"])
    body = body_of(export(make(counted, rule_text("Base", name="base"), more)), "made")
    assert body["threshold"]["field"] == []
    assert body["filters"][0]["query"] == {"terms": {"event.action.lower": ["stoplogging", "deletetrail"]}}


def test_folding_by_a_payload_is_left_out_and_said(make: Callable[..., Made]) -> None:
    by = {"suppress": {"by": ["userIdentity.arn", "requestParameters.bucketName"], "for": "90m"}}
    (document,) = export(make(rule_text("Folds", siem=by))).documents
    assert isinstance(document.body, dict)
    assert "alert_suppression" not in document.body
    assert [note for note in document.notes if "Not folded" in note and "bucketName" in note]
    (document,) = export(
        make(rule_text("Folds", siem={"suppress": {"by": ["userIdentity.arn"], "for": "90m"}}))
    ).documents
    assert isinstance(document.body, dict)
    assert document.body["alert_suppression"]["duration"] == {"value": 90, "unit": "m"}


def test_a_rules_text_is_shown_as_it_is(make: Callable[..., Made]) -> None:
    nasty = '{{x}} !{osquery{"query":"x"}} [a](javascript:b) <img>\n# head `c`'
    made = make(rule_text(nasty, description=nasty, falsepositives=[nasty], siem={"runbook": nasty}))
    (document,) = export(made).documents
    assert isinstance(document.body, dict)
    assert "\n" not in document.body["name"]
    (shown,) = [part for part in document.body["note"].split("\n\n") if "osquery" in part]
    assert not re.search(r"(?<!\\)[{}!\[\]<>`#]", shown)


def test_every_tactic_is_named_with_the_techniques(whole: Export) -> None:
    for document in whole.documents:
        assert isinstance(document.body, dict)
        assert document.rule is not None
        tactics = [one.id for one in document.rule.threat.tactics]
        assert [one["tactic"]["id"] for one in document.body["threat"]] == tactics
        for entry in document.body["threat"]:
            assert [one["id"] for one in entry["technique"]] == list(
                dict.fromkeys(one.id for one in document.rule.threat.techniques)
            )
