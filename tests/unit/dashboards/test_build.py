from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.dashboards.build import build, build_all, to_ndjson, write
from loader.dashboards.fields import read_fields
from loader.dashboards.sources import read_source
from loader.dashboards.visstate import VIS_STATE, json_schema
from loader.errors import DashboardError
from loader.project import dashboards_dir

SOURCE = dashboards_dir() / "src" / "cloudtrail_overview.yml"


def objects() -> list[dict[str, Any]]:
    return [json.loads(line) for line in build_all()["cloudtrail_overview.ndjson"].splitlines()]


def of_type(kind: str) -> list[dict[str, Any]]:
    return [each for each in objects() if each["type"] == kind]


def test_the_committed_files_are_what_the_sources_give() -> None:
    folder = dashboards_dir() / "saved_objects"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == build_all()


def test_the_same_input_gives_the_same_bytes() -> None:
    assert build_all() == build_all()


def test_the_overview_has_what_the_issue_asks_for() -> None:
    assert len(of_type("visualization")) >= 4
    assert len(of_type("search")) == 1
    assert len(of_type("dashboard")) == 1
    titles = [each["attributes"]["title"] for each in of_type("index-pattern")]
    assert titles == ["log-aws-cloudtrail-*", "siem-alerts-*"]


def test_versions_are_those_that_every_release_reads() -> None:
    versions = {each["type"]: each["migrationVersion"] for each in objects()}
    assert versions == {
        "index-pattern": {"index-pattern": "7.6.0"},
        "search": {"search": "7.9.3"},
        "visualization": {"visualization": "7.10.0"},
        "dashboard": {"dashboard": "7.9.3"},
    }
    assert not [each for each in objects() if "coreMigrationVersion" in each]


def test_what_is_referred_to_comes_before_what_refers_to_it() -> None:
    seen: set[tuple[str, str]] = set()
    for each in objects():
        assert {(reference["type"], reference["id"]) for reference in each["references"]} <= seen
        seen.add((each["type"], each["id"]))


def test_an_index_pattern_carries_its_fields() -> None:
    (events, _) = of_type("index-pattern")
    fields = {field["name"]: field for field in json.loads(events["attributes"]["fields"])}
    assert fields["event.action"] == {
        "aggregatable": True,
        "count": 0,
        "esTypes": ["keyword"],
        "name": "event.action",
        "readFromDocValues": True,
        "scripted": False,
        "searchable": True,
        "type": "string",
    }


def test_the_saved_search_has_useful_columns_beside_the_time() -> None:
    (search,) = of_type("search")
    # The screen puts the index pattern's time field before the columns by itself.
    assert search["attributes"]["columns"] == [
        "user.name",
        "event.action",
        "event.provider",
        "event.outcome",
        "source.address",
        "cloud.region",
        "aws.cloudtrail.error_code",
    ]
    assert search["attributes"]["sort"] == [["@timestamp", "desc"]]


def test_every_panel_is_on_the_dashboard_once() -> None:
    (dashboard,) = of_type("dashboard")
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    references = {reference["name"]: reference["id"] for reference in dashboard["references"]}
    shown = [references[panel["panelRefName"]] for panel in panels]
    assert sorted(shown) == sorted(each["id"] for each in of_type("visualization") + of_type("search"))


def test_every_vis_state_is_of_the_schema() -> None:
    for each in of_type("visualization"):
        VIS_STATE.validate_json(each["attributes"]["visState"])


def test_the_schema_is_json_schema_and_agrees() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(json_schema())
    validator = Draft202012Validator(json_schema())
    for each in of_type("visualization"):
        state = json.loads(each["attributes"]["visState"])
        assert validator.is_valid(state)
        assert not validator.is_valid({**state, "surprise": 1})


def test_an_order_names_the_metric_it_was_given_by_label(tmp_path: Path) -> None:
    (alerts,) = [each for each in of_type("visualization") if each["id"].endswith("open-alerts")]
    aggs = json.loads(alerts["attributes"]["visState"])["aggs"]
    labels = {agg["id"]: agg["params"].get("customLabel") for agg in aggs}
    assert labels[aggs[4]["params"]["orderBy"]] == "Severity"


def test_ids_depend_on_names_only(tmp_path: Path) -> None:
    text = SOURCE.read_text().replace("Who is refused most", "Who is refused most often")
    (tmp_path / "cloudtrail_overview.yml").write_text(text)
    changed = build(read_source(tmp_path / "cloudtrail_overview.yml"), read_fields())
    assert [(each["type"], each["id"]) for each in changed] == [(each["type"], each["id"]) for each in objects()]
    assert to_ndjson(changed) != build_all()["cloudtrail_overview.ndjson"]


def test_an_index_pattern_without_a_template_is_refused(tmp_path: Path) -> None:
    document = yaml.safe_load(SOURCE.read_text())
    document["index_patterns"]["events"]["pattern"] = "log-*"
    (tmp_path / "board.yml").write_text(yaml.safe_dump(document))
    with pytest.raises(DashboardError, match=r"no index template has the pattern log-\*") as caught:
        build(read_source(tmp_path / "board.yml"), read_fields())
    assert caught.value.where == "dashboards/src/board.yml: index_patterns.events"
    assert "log-aws-cloudtrail-*" in str(caught.value.hint)


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    first = write(tmp_path / "out")
    assert [path.name for path in first] == ["cloudtrail_overview.ndjson"]
    assert first[0].read_bytes() == build_all()["cloudtrail_overview.ndjson"]
    assert write(tmp_path / "out") == []
