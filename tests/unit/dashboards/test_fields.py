from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loader.dashboards.fields import read_fields
from loader.errors import DashboardError, MappingError

EVENTS = read_fields()["log-aws-cloudtrail-*"]


def write(folder: Path, properties: dict[str, Any], parts: dict[str, dict[str, Any]] | None = None) -> Path:
    (folder / "component").mkdir()
    (folder / "index").mkdir()
    for name, inner in (parts or {}).items():
        body = {"template": {"mappings": {"properties": inner}}}
        (folder / "component" / f"{name}.json").write_text(json.dumps(body))
    whole = {
        "index_patterns": ["a-*"],
        "composed_of": list(parts or {}),
        "template": {"mappings": {"properties": properties}},
    }
    (folder / "index" / "a.json").write_text(json.dumps(whole))
    return folder


def test_component_templates_and_the_template_itself_are_merged(tmp_path: Path) -> None:
    parts = {
        "one": {"x": {"properties": {"a": {"type": "keyword"}}}},
        "two": {"x": {"properties": {"b": {"type": "long"}}}},
    }
    fields = read_fields(write(tmp_path, {"x": {"properties": {"a": {"type": "text"}}}}, parts))["a-*"]
    assert {name: field.mapping_type for name, field in fields.items() if name.startswith("x")} == {
        "x.a": "text",
        "x.b": "long",
    }


def test_the_projects_patterns_all_have_fields() -> None:
    assert {"log-aws-cloudtrail-*", "siem-alerts-*"} <= read_fields().keys()
    assert list(EVENTS) == sorted(EVENTS)


@pytest.mark.parametrize(
    ("name", "kind", "searchable", "aggregatable", "doc_values"),
    [
        ("@timestamp", "date", True, True, True),
        ("event.action", "string", True, True, True),
        ("source.ip", "ip", True, True, True),
        ("source.geo.location", "geo_point", True, True, True),
        ("aws.cloudtrail.read_only", "boolean", True, True, True),
        ("aws.cloudtrail.leaves", "string", True, False, False),
        ("user_agent.original", "string", True, True, True),
        ("@log_type", "string", True, True, True),
        ("_id", "string", True, True, False),
        ("_source", "_source", False, False, False),
    ],
)
def test_a_field_says_what_can_be_done_with_it(
    name: str, kind: str, searchable: bool, aggregatable: bool, doc_values: bool
) -> None:
    saved = EVENTS[name].saved()
    assert (saved["type"], saved["searchable"], saved["aggregatable"], saved["readFromDocValues"]) == (
        kind,
        searchable,
        aggregatable,
        doc_values,
    )


def test_a_multi_field_names_its_parent() -> None:
    assert EVENTS["event.action.lower"].saved()["subType"] == {"multi": {"parent": "event.action"}}
    assert "subType" not in EVENTS["event.action"].saved()


def test_what_is_not_indexed_is_no_field() -> None:
    assert not [name for name in EVENTS if name.startswith("aws.cloudtrail.flattened")]


def test_text_cannot_be_aggregated_and_index_false_not_searched(tmp_path: Path) -> None:
    properties = {"t": {"type": "text"}, "k": {"type": "keyword", "index": False, "doc_values": False}}
    fields = read_fields(write(tmp_path, properties))["a-*"]
    assert (fields["t"].searchable, fields["t"].aggregatable) == (True, False)
    assert (fields["k"].searchable, fields["k"].aggregatable) == (False, False)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"x": {"type": "dense_vector"}}, "x has the type dense_vector"),
        ({"x": {"type": "alias", "path": "y"}}, "the alias x points to y"),
    ],
)
def test_a_mapping_that_cannot_be_shown_is_refused(tmp_path: Path, properties: dict[str, Any], message: str) -> None:
    with pytest.raises(DashboardError, match=message) as caught:
        read_fields(write(tmp_path, properties))
    assert caught.value.where == "mappings/index/a.json"


def test_a_missing_component_template_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, {}, {"one": {}})
    (folder / "component" / "one.json").unlink()
    with pytest.raises(DashboardError, match="no component template one"):
        read_fields(folder)


def test_a_template_that_is_no_json_is_an_error_of_the_mapping(tmp_path: Path) -> None:
    folder = write(tmp_path, {})
    (folder / "index" / "a.json").write_text("{")
    with pytest.raises(MappingError, match="not JSON"):
        read_fields(folder)
