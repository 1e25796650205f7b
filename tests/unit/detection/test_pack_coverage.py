"""What the pack covers, and that the page says so."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from loader.detection.compile import compile_rules
from loader.detection.coverage_page import coverage_page, lists_of
from loader.detection.data_needs import ANY, NETWORK, READ, WRITE, kinds_held, sight
from loader.detection.load import load_rules
from loader.detection.pack_coverage import PackCoverage, cover, navigator_layer, read_targets
from loader.project import home, rules_dir

S3_OBJECTS = "data events of S3 objects"


@cache
def coverage() -> PackCoverage:
    pack = compile_rules(load_rules([rules_dir()]))
    return cover(pack.known, read_targets())


def kinds(name: str) -> tuple[str, ...]:
    return next(rule.kinds for rule in coverage().rules if rule.name == name)


def test_the_committed_page_is_the_one_the_rules_make() -> None:
    page = (home() / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert page == coverage_page(coverage()), "run: siem rules coverage --write"


def test_cis_and_guarddutys_lists_have_no_gap() -> None:
    assert [number for number, rules in coverage().cis.items() if not rules] == []
    assert [name for name, rules in coverage().signals.items() if not rules] == []
    assert [name for name, rules in coverage().findings.items() if not rules] == []
    assert (len(coverage().cis), len(coverage().signals), len(coverage().findings)) == (15, 33, 49)


def test_the_lists_name_only_rules_that_raise_alerts() -> None:
    heard = {rule.name for rule in coverage().rules if not rule.feeds}
    targets = read_targets()
    listed = {name for names in targets["guardduty_findings"].values() for name in names}
    listed |= {name for part in targets["aws_attacks"].values() for names in part.values() for name in names}
    assert listed - heard == set()


def test_a_technique_without_a_rule_has_a_reason_and_none_has_both() -> None:
    gaps = {key for part in coverage().attack.values() for key, rules in part.items() if not rules}
    assert gaps == set(coverage().unseen)


def test_every_known_attack_has_a_rule_but_one_on_a_service_that_is_gone() -> None:
    gaps = [name for part in coverage().attacks.values() for name, rules in part.items() if not rules]
    assert gaps == ["codestar:CreateProject"]


def test_rules_that_only_feed_correlations_answer_to_nothing() -> None:
    feeding = {rule.name for rule in coverage().rules if rule.feeds}
    assert feeding
    for entries in (*lists_of(coverage()).values(), coverage().techniques, coverage().tactics):
        assert not feeding & {name for names in entries.values() for name in names}


#: Keys of the Navigator's layer format 4.5 (layers/spec/v4.5/layerformat.md) and their types; the first are required.
LAYER = {"name": str, "versions": dict, "domain": str}
LAYER_MORE: dict[str, Any] = {
    "description": str,
    "filters": dict,
    "sorting": int,
    "layout": dict,
    "hideDisabled": bool,
    "techniques": list,
    "gradient": dict,
    "legendItems": list,
    "showTacticRowBackground": bool,
    "tacticRowBackground": str,
    "selectTechniquesAcrossTactics": bool,
    "selectSubtechniquesWithParent": bool,
    "selectVisibleTechniques": bool,
    "customDataURL": str,
    "metadata": list,
    "links": list,
}
TECHNIQUE = {
    "techniqueID": str,
    "tactic": str,
    "comment": str,
    "enabled": bool,
    "score": (int, float),
    "color": str,
    "metadata": list,
    "links": list,
    "showSubtechniques": bool,
}
PLATFORMS = {
    *("Windows", "Linux", "macOS", "Network Devices", "ESXi", "PRE", "Containers", "IaaS", "SaaS"),
    *("Office Suite", "Identity Provider"),
}


def test_a_layer_is_of_the_navigators_format() -> None:
    layer = navigator_layer(coverage())
    assert set(LAYER) <= set(layer) <= {*LAYER, *LAYER_MORE}
    assert all(isinstance(layer[key], kind) for key, kind in {**LAYER, **LAYER_MORE}.items() if key in layer)
    assert layer["domain"] == "enterprise-attack"
    assert layer["versions"]["layer"] == "4.5"
    assert all(isinstance(text, str) for text in layer["versions"].values())
    assert set(layer["filters"]) == {"platforms"}
    assert set(layer["filters"]["platforms"]) <= PLATFORMS
    assert layer["sorting"] in range(4)
    assert set(layer["gradient"]) == {"colors", "minValue", "maxValue"}
    assert all(re.fullmatch(r"#[0-9a-fA-F]{6}", color) for color in layer["gradient"]["colors"])
    assert layer["gradient"]["minValue"] < layer["gradient"]["maxValue"]
    assert all(set(item) == {"label", "color"} for item in layer["legendItems"])
    for entry in layer["techniques"]:
        assert set(entry) <= set(TECHNIQUE)
        assert all(isinstance(value, TECHNIQUE[key]) for key, value in entry.items())
        assert re.fullmatch(r"T\d{4}(\.\d{3})?", entry["techniqueID"])
    ids = [entry["techniqueID"] for entry in layer["techniques"]]
    assert len(ids) == len(set(ids))


def test_a_layer_scores_each_technique_by_its_rules_and_names_none_that_version_19_took_back() -> None:
    scores = {entry["techniqueID"]: entry["score"] for entry in navigator_layer(coverage())["techniques"]}
    current = {key: len(names) for key, names in coverage().techniques.items() if not key.startswith("T1562")}
    assert scores == current
    assert "T1685.002" in scores


def test_rules_say_which_events_they_live_on() -> None:
    assert kinds("aws_cloudtrail_trail_changed") == (WRITE,)
    assert kinds("aws_ec2_password_data_retrieved") == (READ,)
    assert kinds("aws_s3_anonymous_access") == (S3_OBJECTS,)
    assert kinds("aws_s3_object_lock_bypassed") == (S3_OBJECTS, WRITE)
    assert kinds("aws_any_vpc_endpoint_denied") == (NETWORK,)
    assert kinds("aws_any_attack_tool_user_agent") == (ANY,)


def test_a_correlation_lives_on_what_its_base_rules_live_on() -> None:
    assert kinds("aws_s3_read_then_delete") == (S3_OBJECTS,)
    assert kinds("aws_sns_sms_burst") == ("data events of SNS messages", "data events of text messages")


def bucket(category: str | None, source: str, *, reads: bool | None, count: int = 1) -> dict[str, Any]:
    key = {"category": category, "source": source, "reads": reads}
    return {"key": key, "doc_count": count, "last": {"value_as_string": f"2026-03-0{count}T00:00:00.000Z"}}


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (bucket("Management", "iam.amazonaws.com", reads=False), WRITE),
        (bucket(None, "iam.amazonaws.com", reads=None), WRITE),
        (bucket("Management", "iam.amazonaws.com", reads=True), READ),
        (bucket("Data", "s3.amazonaws.com", reads=True), S3_OBJECTS),
        (bucket("Data", "lambda.amazonaws.com", reads=False), "data events of Lambda invocations"),
        (bucket("Data", "new.amazonaws.com", reads=False), "data events of new.amazonaws.com"),
        (bucket("NetworkActivity", "s3.amazonaws.com", reads=True), NETWORK),
        (bucket("Insight", "", reads=None), "Insights events"),
    ],
)
def test_what_an_index_holds_is_named_as_rules_name_it(found: dict[str, Any], kind: str) -> None:
    assert kinds_held([found]) == {kind: (1, "2026-03-01T00:00:00.000Z"), ANY: (1, "2026-03-01T00:00:00.000Z")}


def test_what_an_index_holds_is_added_up() -> None:
    found = kinds_held([bucket("Management", source, reads=False, count=n) for source, n in (("a", 1), ("b", 3))])
    assert found[WRITE] == (4, "2026-03-03T00:00:00.000Z")


def test_a_rule_is_blind_where_none_of_its_events_are() -> None:
    held = kinds_held([bucket("Management", "iam.amazonaws.com", reads=False)])
    assert sight((WRITE,), held).word == "sees"
    assert sight((ANY,), held).word == "sees"
    assert sight((S3_OBJECTS,), held).word == "blind"
    assert sight((S3_OBJECTS, WRITE), held).word == "sees part"
    assert sight((S3_OBJECTS, WRITE), held).missing == (S3_OBJECTS,)
    assert sight((ANY,), {}).word == "blind"
