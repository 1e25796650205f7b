"""Retention and mapping changes against the real engine: what it deletes, takes and refuses."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.clock import SystemClock
from loader.errors import ClusterError
from loader.index.drift import apply_existing, compare, plan_existing
from loader.index.engine import read_engine
from loader.index.gate import IndexGate
from loader.index.lifecycle import Ages, apply_lifecycle, manager_of, plan_lifecycle
from loader.index.retention import apply_retention, event_indices, plan_retention
from loader.index.templates import read_templates

pytestmark = pytest.mark.integration

TODAY = date(2026, 11, 24)


def test_retention_deletes_by_name_and_nothing_else(templates: OpenSearch) -> None:
    made = [
        "log-aws-cloudtrail-2023.07.10",
        "log-aws-cloudtrail-2023.07.11",
        "log-aws-cloudtrail-2026.11.24",
        "log-aws-cloudtrail-2099.01.01",
        "log-aws-cloudtrail-misdated",
        "log-other-2023.07.10",
        "siem-objects-2023.07",
    ]
    for index in made:
        templates.indices.create(index=index)
    templates.indices.close(index="log-aws-cloudtrail-2023.07.11")
    plan = plan_retention(event_indices(templates), today=TODAY, days=730)
    assert plan.of("delete") == ["log-aws-cloudtrail-2023.07.10", "log-aws-cloudtrail-2023.07.11"]
    assert plan.of("refuse") == ["log-aws-cloudtrail-misdated"]
    apply_retention(templates, plan)
    assert all(templates.indices.exists(index=index) for index in made)
    result = apply_retention(templates, plan, dry_run=False)
    assert result.deleted == plan.of("delete")
    assert [index for index in made if templates.indices.exists(index=index)] == made[2:]
    assert apply_retention(templates, plan, dry_run=False).gone == plan.of("delete")


def test_an_index_of_a_day_gone_by_is_as_old_as_that_day(templates: OpenSearch) -> None:
    """What a lifecycle manager counts from: there is none here, so the index's own date is looked at."""
    if read_engine(templates) == "elasticsearch":
        pytest.skip("Elasticsearch takes no creation date, only ILM's, which its distribution here lacks")
    today = SystemClock().now().date()
    gone, beyond = (today - timedelta(days=20), today - timedelta(days=800))
    gate = IndexGate(templates, clock=SystemClock())
    for day in (gone, beyond, today):
        gate.admit(f"log-aws-cloudtrail-{day:%Y.%m.%d}")
    found = templates.indices.get_settings(index="log-aws-*")
    created = {
        name: datetime.fromtimestamp(int(entry["settings"]["index"]["creation_date"]) / 1000, timezone.utc)
        for name, entry in found.items()
    }
    assert {name: moment.date() for name, moment in created.items()} == {
        f"log-aws-cloudtrail-{day:%Y.%m.%d}": day for day in (gone, today)
    }
    # The rest is the template's.
    settings = found[f"log-aws-cloudtrail-{gone:%Y.%m.%d}"]["settings"]["index"]
    assert settings["codec"] == "best_compression"


def test_this_node_has_no_lifecycle_manager_and_that_is_said(clean_cluster: OpenSearch) -> None:
    if manager_of(clean_cluster) is not None:
        pytest.skip("this cluster has a lifecycle manager")
    plan = plan_lifecycle(clean_cluster, Ages())
    with pytest.raises(ClusterError, match="neither ISM nor ILM"):
        apply_lifecycle(clean_cluster, plan)


def test_indices_of_today_s_templates_have_no_drift(templates: OpenSearch) -> None:
    for index in (
        "log-aws-cloudtrail-2023.07.10",
        "siem-sessions-2023.07",
        "siem-alerts-2023.07",
        "siem-objects-2023.07",
    ):
        templates.indices.create(index=index)
    assert plan_existing(templates, read_templates()) == []


def test_an_addition_is_made_and_a_change_refused(templates: OpenSearch) -> None:
    index = "siem-sessions-2023.07"
    templates.indices.create(index=index)
    changed = []
    for template in read_templates():
        if template.name == "siem-sessions":
            body = copy.deepcopy(template.body)
            properties = body["template"]["mappings"]["properties"]
            properties["issued"]["properties"]["fresh"] = {"type": "keyword"}
            properties["event_id"] = {"type": "long"}
            changed.append(replace(template, body=body))
        else:
            changed.append(template)
    (drift,) = plan_existing(templates, changed)
    assert drift.added == ("issued.fresh",)
    assert {refusal.path for refusal in drift.refusals} == {"event_id[type]"}
    assert apply_existing(templates, [drift]) == [index]
    (after,) = plan_existing(templates, changed)
    assert after.additions == {}
    mapping = templates.indices.get_mapping(index=index)[index]["mappings"]["properties"]
    assert mapping["issued"]["properties"]["fresh"] == {"type": "keyword"}
    assert mapping["event_id"]["type"] == "keyword"


@pytest.fixture
def scratch(opensearch_client: OpenSearch) -> Iterator[str]:
    """The name of an index of this test's own."""
    index = f"scratch-{uuid4().hex}"
    yield index
    opensearch_client.indices.delete(index=index, params={"ignore_unavailable": "true"})


KEYWORD = {"type": "keyword", "ignore_above": 8191}
BEFORE: dict[str, Any] = {
    "dynamic": "strict",
    "date_detection": False,
    "_source": {"excludes": ["leaves"]},
    "properties": {
        "k": KEYWORD,
        "n": {"type": "keyword", "normalizer": "lowercase"},
        "d": {"type": "date"},
        "o": {"properties": {"x": KEYWORD}},
        "off": {"type": "object", "enabled": False},
        "w": {"type": "wildcard"},
        "l": {"type": "long"},
        "t": {"type": "text"},
        "al": {"type": "alias", "path": "k"},
        "many": {**KEYWORD, "fields": {"lower": {"type": "keyword", "normalizer": "lowercase"}}},
    },
}

#: A change, and whether the engine takes it on an existing index.
CHANGES: list[tuple[str, dict[str, Any], bool]] = [
    ("new field", {"new": KEYWORD}, True),
    ("new field in an object", {"o": {"properties": {"x": KEYWORD, "y": KEYWORD}}}, True),
    ("new subfield", {"k": {**KEYWORD, "fields": {"lower": {"type": "keyword", "normalizer": "lowercase"}}}}, True),
    ("ignore_above", {"k": {"type": "keyword", "ignore_above": 100}}, True),
    ("ignore_above of a wildcard", {"w": {"type": "wildcard", "ignore_above": 100}}, True),
    ("coerce", {"l": {"type": "long", "coerce": False}}, True),
    ("ignore_malformed", {"l": {"type": "long", "ignore_malformed": True}}, True),
    ("alias to elsewhere", {"al": {"type": "alias", "path": "n"}}, True),
    ("type", {"k": {"type": "wildcard"}}, False),
    ("type, within a family", {"l": {"type": "double"}}, False),
    ("object to keyword", {"o": KEYWORD}, False),
    ("keyword to object", {"k": {"properties": {"z": KEYWORD}}}, False),
    ("normalizer added", {"k": {**KEYWORD, "normalizer": "lowercase"}}, False),
    ("normalizer removed", {"n": {"type": "keyword"}}, False),
    ("doc_values", {"k": {**KEYWORD, "doc_values": False}}, False),
    ("index", {"k": {**KEYWORD, "index": False}}, False),
    ("format", {"d": {"type": "date", "format": "epoch_millis"}}, False),
    ("enabled", {"off": {"type": "object", "enabled": True}}, False),
    ("type of a subfield", {"many": {**KEYWORD, "fields": {"lower": {"type": "text"}}}}, False),
    ("norms", {"t": {"type": "text", "norms": False}}, True),
]


@pytest.mark.parametrize(("properties", "possible"), [change[1:] for change in CHANGES], ids=[c[0] for c in CHANGES])
def test_the_plan_says_what_the_engine_does(
    opensearch_client: OpenSearch, scratch: str, properties: dict[str, Any], possible: bool
) -> None:
    """The engine's own verdict on the raw change, the plan's verdict, and the plan's request are one."""
    opensearch_client.indices.create(index=scratch, body={"mappings": BEFORE})
    actual = opensearch_client.indices.get_mapping(index=scratch)[scratch]["mappings"]
    desired = {**BEFORE, "properties": {**BEFORE["properties"], **properties}}
    body, added, refusals = compare(desired, actual, "how")
    assert bool(added) is possible
    assert bool(refusals) is not possible
    if possible:
        opensearch_client.indices.put_mapping(index=scratch, body=body)
        after = opensearch_client.indices.get_mapping(index=scratch)[scratch]["mappings"]
        assert compare(desired, after, "how") == ({}, [], [])
    else:
        with pytest.raises(TransportError):
            opensearch_client.indices.put_mapping(index=scratch, body={"properties": properties})


def test_what_is_not_stored_can_only_change_with_a_new_index(opensearch_client: OpenSearch, scratch: str) -> None:
    opensearch_client.indices.create(index=scratch, body={"mappings": BEFORE})
    actual = opensearch_client.indices.get_mapping(index=scratch)[scratch]["mappings"]
    desired = {**BEFORE, "_source": {"excludes": ["other"]}, "properties": {**BEFORE["properties"], "new": KEYWORD}}
    body, added, refusals = compare(desired, actual, "how")
    assert ([refusal.path for refusal in refusals], added) == (["[_source]"], ["new"])
    with pytest.raises(TransportError, match="excludes"):
        opensearch_client.indices.put_mapping(index=scratch, body={"_source": {"excludes": ["other"]}})
    opensearch_client.indices.put_mapping(index=scratch, body=body)
    after = opensearch_client.indices.get_mapping(index=scratch)[scratch]["mappings"]
    assert after["_source"] == BEFORE["_source"]
    assert compare(desired, after, "how")[0] == {}


@pytest.mark.parametrize("top", [{"dynamic": "false"}, {"date_detection": True}])
def test_changes_of_the_whole_mapping(opensearch_client: OpenSearch, scratch: str, top: dict[str, Any]) -> None:
    opensearch_client.indices.create(index=scratch, body={"mappings": BEFORE})
    actual = opensearch_client.indices.get_mapping(index=scratch)[scratch]["mappings"]
    body, _, refusals = compare({**BEFORE, **top}, actual, "how")
    assert refusals == []
    opensearch_client.indices.put_mapping(index=scratch, body=body)
    after = opensearch_client.indices.get_mapping(index=scratch)[scratch]["mappings"]
    assert compare({**BEFORE, **top}, after, "how") == ({}, [], [])
