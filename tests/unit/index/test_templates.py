"""The project's templates, and what a changed template means for indices that exist."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from loader.errors import MappingError
from loader.index.drift import IndexDrift, apply_existing, compare, plan_existing
from loader.index.templates import Template, adapt, compose, read_templates

KEYWORD = {"type": "keyword", "ignore_above": 8191}
BASE: dict[str, Any] = {
    "dynamic": "strict",
    "date_detection": False,
    "_source": {"excludes": ["x"]},
    "properties": {
        "@timestamp": {"type": "date"},
        "a": {"properties": {"b": KEYWORD, "c": {"type": "object", "enabled": False}}},
        "alias": {"type": "alias", "path": "a.b"},
    },
}


def changed(**parts: Any) -> dict[str, Any]:
    """Return BASE with ``a_b`` and the like replaced."""
    found = copy.deepcopy(BASE)
    for path, value in parts.items():
        *parents, last = path.split("_")
        node = found
        for name in parents:
            node = node["properties"][name]
        if isinstance(value, dict) and last in node.get("properties", {}):
            node["properties"][last] = value
        else:
            node.setdefault("properties", {})[last] = value
    return found


def test_the_project_s_templates_compose() -> None:
    templates = read_templates()
    for template in templates:
        if template.kind == "index":
            mapping = compose(template, templates)
            assert mapping["dynamic"] in ("strict", False)
            assert mapping["properties"]
            assert compare(mapping, mapping, "") == ({}, [], [])


def test_elasticsearch_is_sent_no_normalizer_for_wildcard_fields() -> None:
    templates = read_templates()
    events = next(template for template in adapt(templates, "elasticsearch") if template.name == "siem-ecs")
    agent = events.body["template"]["mappings"]["properties"]["user_agent"]["properties"]["original"]
    assert agent["type"] == "wildcard"
    assert "normalizer" not in agent
    assert adapt(templates, "opensearch") == templates


def test_serverless_is_sent_index_templates_that_stand_alone() -> None:
    templates = read_templates()
    adapted = adapt(templates, "serverless")
    assert [template.name for template in adapted] == [one.name for one in templates if one.kind == "index"]
    for template in adapted:
        assert "composed_of" not in template.body
        assert set(template.body["template"]) == {"mappings"}
    events = next(template for template in adapted if template.name == "log-aws-cloudtrail")
    original = next(template for template in templates if template.name == "log-aws-cloudtrail")
    assert events.body["template"]["mappings"] == compose(original, templates)
    assert events.body["index_patterns"] == original.body["index_patterns"]


def test_a_component_that_is_not_there_is_named() -> None:
    template = Template("index", "log-x", {"index_patterns": ["log-x-*"], "composed_of": ["missing"]})
    with pytest.raises(MappingError, match="missing"):
        compose(template, [template])


def test_later_parts_win_and_nothing_read_is_changed() -> None:
    one = Template(
        "component", "one", {"template": {"mappings": {"properties": {"a": {"type": "long"}, "b": KEYWORD}}}}
    )
    two = Template("component", "two", {"template": {"mappings": {"properties": {"a": {"type": "date"}}}}})
    index = Template("index", "i", {"composed_of": ["one", "two"], "template": {"mappings": {"dynamic": "strict"}}})
    before = copy.deepcopy(one.body)
    mapping = compose(index, [one, two, index])
    assert mapping == {"dynamic": "strict", "properties": {"a": {"type": "date"}, "b": KEYWORD}}
    assert one.body == before


def test_a_new_field_is_an_addition() -> None:
    body, added, refusals = compare(changed(a_new=KEYWORD), BASE, "how")
    assert body == {"properties": {"a": {"properties": {"new": KEYWORD}}}}
    assert (added, refusals) == (["a.new"], [])


def test_a_new_subfield_repeats_its_field() -> None:
    lower = {"type": "keyword", "normalizer": "lowercase"}
    body, added, refusals = compare(changed(a_b={**KEYWORD, "fields": {"lower": lower}}), BASE, "how")
    assert body == {"properties": {"a": {"properties": {"b": {**KEYWORD, "fields": {"lower": lower}}}}}}
    assert (added, refusals) == (["a.b.lower"], [])


def test_another_type_is_refused_and_the_rest_still_added() -> None:
    desired = changed(a_b={"type": "wildcard"}, new=KEYWORD)
    body, added, refusals = compare(desired, BASE, "replay it")
    assert body == {"properties": {"new": KEYWORD}}
    assert added == ["new"]
    assert {(refusal.path, refusal.have, refusal.want) for refusal in refusals} == {
        ("a.b[type]", "keyword", "wildcard"),
    }
    assert {refusal.how for refusal in refusals} == {"replay it"}


def test_what_the_engine_leaves_out_or_writes_as_text_is_no_difference() -> None:
    actual = copy.deepcopy(BASE)
    actual["properties"]["a"]["properties"]["c"] = {"enabled": "false", "type": "object"}
    actual["properties"]["old"] = {"type": "long"}
    desired = changed(a_b={**KEYWORD, "index": True, "doc_values": True})
    assert compare(desired, actual, "") == ({}, [], [])


class Cluster:
    """A cluster's answers about mappings; the real one is asked in the integration tests."""

    def __init__(self, mappings: dict[str, Any]) -> None:
        self.mappings = mappings
        self.put: list[tuple[str, Any]] = []
        self.indices = self

    def get_mapping(self, *, index: str, params: Any) -> dict[str, Any]:
        return {name: {"mappings": mapping} for name, mapping in self.mappings.items()}

    def put_mapping(self, *, index: str, body: Any) -> None:
        self.put.append((index, body))


def drifts(cluster: Any, template: Template) -> list[IndexDrift]:
    return plan_existing(cluster, [template])


@pytest.mark.parametrize(
    ("index", "how"), [("log-aws-x-2023.07.10", "siem load backfill"), ("siem-x-2023.07", "_reindex")]
)
def test_a_refusal_says_how(index: str, how: str) -> None:
    template = Template(
        "index", "t", {"index_patterns": [f"{index[:-5]}*"], "template": {"mappings": changed(a_b={"type": "long"})}}
    )
    cluster = Cluster({index: BASE, "elsewhere": BASE})
    (drift,) = drifts(cluster, template)
    assert drift.index == index
    assert all(how in refusal.how for refusal in drift.refusals)
    assert apply_existing(cluster, [drift]) == []  # type: ignore[arg-type]
    assert cluster.put == []


def test_a_broken_template_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "component").mkdir()
    (tmp_path / "component" / "x.json").write_text("{")
    with pytest.raises(MappingError) as caught:
        read_templates(tmp_path)
    assert caught.value.where == str(tmp_path / "component" / "x.json")
