"""Each check is shown to fail: the built file is broken in one way, and exactly that is reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loader.dashboards.build import build_all, write
from loader.dashboards.check import check, check_committed
from loader.project import dashboards_dir

FILE = "cloudtrail_overview.ndjson"
BUILT = build_all()[FILE]
LINES = [json.loads(line) for line in BUILT.splitlines()]
PREFIX = "siem-cloudtrail-overview"

Edit = Callable[[dict[str, Any]], None]


def line_of(identity: str) -> int:
    return next(number for number, each in enumerate(LINES) if each["id"] == identity)


EVENTS = "siem-index-pattern-log-aws-cloudtrail"
TABLE = f"{PREFIX}-most-refused"
BARS = f"{PREFIX}-refused-over-time"
NUMBERS = f"{PREFIX}-never-routine"
SEARCH = f"{PREFIX}-calls"


def broken(identity: str, edit: Edit) -> list[tuple[str, str]]:
    """Return code and place of every problem after ``edit`` of one object; its line and object are always right."""
    objects = [json.loads(line) for line in BUILT.splitlines()]
    number = line_of(identity)
    edit(objects[number])
    content = b"".join(json.dumps(each).encode() + b"\n" for each in objects)
    problems = check({FILE: content})
    assert {(problem.file, problem.line) for problem in problems} <= {(FILE, number + 1)}
    assert all(problem.message and problem.code in str(problem) for problem in problems)
    return [(problem.code, problem.place) for problem in problems]


def inside(key: str, edit: Callable[[Any], Any]) -> Edit:
    """Return an edit of the JSON inside the text of an attribute."""

    def apply(item: dict[str, Any]) -> None:
        *path, last = key.split(".")
        holder = item["attributes"]
        for step in path:
            holder = holder[step]
        content = json.loads(holder[last])
        replaced = edit(content)
        holder[last] = json.dumps(content if replaced is None else replaced)

    return apply


def setting(path: str, value: Any) -> Callable[[Any], None]:
    """Return a function that sets ``a.0.b`` in what it is given."""

    def apply(content: Any) -> None:
        *steps, last = path.split(".")
        for step in steps:
            content = content[int(step) if step.isdigit() else step]
        content[int(last) if last.isdigit() else last] = value

    return apply


def vis(path: str, value: Any) -> Edit:
    return inside("visState", setting(path, value))


def query(text: str) -> Edit:
    return inside("kibanaSavedObjectMeta.searchSourceJSON", setting("query.query", text))


def test_what_is_built_has_no_problem() -> None:
    assert check({FILE: BUILT}) == []


def test_what_is_committed_has_no_problem() -> None:
    assert check() == []


# --- fields and aggregations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "field", "code"),
    [
        (4, "user.nmae", "unknown-field"),
        (4, "aws.cloudtrail.leaves", "not-aggregatable"),
        (4, "_source", "not-aggregatable"),
        (4, "user_agent.original", "slow"),
        (4, "source.geo.location", "agg-type"),
        (2, "event.action", "agg-type"),  # min of text
        (1, "source.geo.location", "agg-type"),  # cardinality of a point
    ],
)
def test_an_aggregation_over_a_field_that_does_not_fit(position: int, field: str, code: str) -> None:
    found = broken(TABLE, vis(f"aggs.{position}.params.field", field))
    assert (code, f"visState.aggs.{position}.params.field") in found


def test_text_is_never_aggregated() -> None:
    path = "aggs.4.params.field"
    found = broken(f"{PREFIX}-open-alerts", vis(path, "message"))
    assert found == [("not-aggregatable", f"visState.{path}")]


def test_a_histogram_over_time_needs_a_date() -> None:
    assert broken(BARS, vis("aggs.1.params.field", "event.action")) == [("agg-type", "visState.aggs.1.params.field")]


def test_a_sum_needs_a_number() -> None:
    found = broken(f"{PREFIX}-open-alerts", vis("aggs.1.params.field", "@timestamp"))
    assert found == [("agg-type", "visState.aggs.1.params.field")]


def test_a_bucket_for_missing_values_needs_text() -> None:
    found = broken(TABLE, vis("aggs.5.params.field", "source.ip"))
    assert found == [("missing-bucket", "visState.aggs.5.params.missingBucket")]


# --- the state of a visualisation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "path", "value", "place"),
    [
        (TABLE, "type", "lens", "visState"),
        (TABLE, "surprise", 1, "visState.table.surprise"),
        (TABLE, "params.perPage", "10", "visState.table.params.perPage"),
        (TABLE, "aggs", [], "visState.table.aggs"),
        (TABLE, "aggs.0.type", "top_hits", "visState.table.aggs.0"),
        (TABLE, "aggs.0.enabled", False, "visState.table.aggs.0.count.enabled"),
        (TABLE, "aggs.4.params.size", 0, "visState.table.aggs.4.terms.params.size"),
        (BARS, "aggs.1.params.interval", "1 hour", "visState.histogram.aggs.1.date_histogram.params.interval"),
        (NUMBERS, "params.metric.style.fontSize", 500, "visState.metric.params.metric.style.fontSize"),
    ],
)
def test_a_vis_state_that_is_not_of_the_schema(identity: str, path: str, value: Any, place: str) -> None:
    assert broken(identity, vis(path, value)) == [("vis-state", place)]


def test_a_vis_state_that_is_no_json() -> None:
    assert broken(TABLE, lambda item: item["attributes"].update(visState="{")) == [("vis-state", "visState")]
    assert broken(TABLE, lambda item: item["attributes"].pop("visState")) == [("vis-state", "visState")]


@pytest.mark.parametrize(
    ("identity", "path", "value", "problem"),
    [
        (TABLE, "title", "Other?", ("title", "visState.title")),
        (TABLE, "aggs.4.schema", "segment", ("role", "visState.aggs.4.schema")),
        (TABLE, "aggs.5.id", "5", ("agg-id", "visState.aggs")),
        (TABLE, "aggs.4.params.orderBy", "9", ("agg-id", "visState.aggs.4.params.orderBy")),
        (BARS, "params.seriesParams.0.data.id", "9", ("agg-id", "visState.params.seriesParams.0.data.id")),
        (BARS, "params.seriesParams.0.valueAxis", "V", ("agg-id", "visState.params.seriesParams.0.valueAxis")),
        (BARS, "aggs.2.schema", "segment", ("role", "visState.aggs")),
    ],
)
def test_a_vis_state_that_contradicts_itself(identity: str, path: str, value: Any, problem: tuple[str, str]) -> None:
    assert broken(identity, vis(path, value)) == [problem]


def test_a_visualisation_without_a_metric() -> None:
    found = broken(NUMBERS, inside("visState", lambda state: {**state, "aggs": state["aggs"][1:]}))
    assert found == [("role", "visState.aggs")]


# --- queries --------------------------------------------------------------------------------------------------------

QUERY = "kibanaSavedObjectMeta.searchSourceJSON.query"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("event.action: (", "dql"),
        ("event.actoin: x", "unknown-field"),
        ("nothing: *", "unknown-field"),
        ("AccessDenied", "no-field"),
        ("event.action: x and (user.name: y or not user.nmae: z)", "unknown-field"),
        ("_source: x", "not-searchable"),
        ("aws.cloudtrail.read_only: maybe", "value"),
        ("source.ip: cloudtrail.amazonaws.com", "value"),
        ("source.ip: 10.0.0.*", "value"),
        ("source.as.number: many", "value"),
        ("user_agent.original: *boto3*", "value"),
        ("event.action: Get Object*", "value"),
    ],
)
def test_a_query_that_cannot_find_what_it_says(text: str, code: str) -> None:
    assert broken(TABLE, query(text)) == [(code, QUERY)]
    assert broken(SEARCH, query(text)) == [(code, QUERY)]
    found = broken(NUMBERS, vis("aggs.1.params.filters.0.input.query", text))
    assert found == [(code, "visState.aggs.1.params.filters.0")]


@pytest.mark.parametrize(
    "text",
    [
        "source.ip: 10.0.0.0/8",
        'source.ip: "2001:db8::1"',
        "source.as.number >= 64512",
        "aws.cloudtrail.read_only: true",
        "user_agent.original: boto3*",
        "aws.cloudtrail.leaves: requestParameters.userName=*",
        "not source.ip: *",
        "@timestamp > now-1h",
    ],
)
def test_a_query_that_can(text: str) -> None:
    assert broken(TABLE, query(text)) == []


def test_another_language_is_not_checked_and_so_refused() -> None:
    edit = inside("kibanaSavedObjectMeta.searchSourceJSON", setting("query.language", "lucene"))
    assert broken(TABLE, edit) == [("shape", QUERY)]


def test_filters_are_not_checked_and_so_refused() -> None:
    edit = inside("kibanaSavedObjectMeta.searchSourceJSON", setting("filter", [{"query": {}}]))
    assert broken(TABLE, edit) == [("filter", "kibanaSavedObjectMeta.searchSourceJSON.filter")]


# --- saved searches and index patterns ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attribute", "value", "problem"),
    [
        ("columns", ["user.name", "user.nmae"], ("unknown-field", "columns.1")),
        ("columns", [], ("shape", "columns")),
        ("columns", "user.name", ("shape", "columns")),
        ("sort", "@timestamp", ("shape", "sort")),
        ("sort", [["nowhere", "desc"]], ("unknown-field", "sort.0")),
        ("sort", [["aws.cloudtrail.leaves", "desc"]], ("not-aggregatable", "sort.0")),
        ("sort", [["@timestamp", "down"]], ("shape", "sort.0")),
    ],
)
def test_a_saved_search_that_would_not_open(attribute: str, value: Any, problem: tuple[str, str]) -> None:
    assert broken(SEARCH, lambda item: item["attributes"].update({attribute: value})) == [problem]


def fields(edit: Callable[[list[dict[str, Any]]], Any]) -> Edit:
    return inside("fields", edit)


def test_an_index_pattern_whose_fields_are_not_those_of_the_mapping() -> None:
    def rename(listed: list[dict[str, Any]]) -> None:
        next(each for each in listed if each["name"] == "event.action")["name"] = "event.actoin"

    assert broken(EVENTS, fields(rename)) == [
        ("missing-field", "fields.event.action"),
        ("unknown-field", "fields.event.actoin"),
    ]

    def make_text(listed: list[dict[str, Any]]) -> None:
        next(each for each in listed if each["name"] == "event.action")["aggregatable"] = False

    assert broken(EVENTS, fields(make_text)) == [("field-differs", "fields.event.action")]
    assert broken(EVENTS, fields(lambda listed: [*listed, listed[0]])) == [("duplicate-field", "fields")]


def test_an_index_pattern_without_fields_is_refused() -> None:
    """Without the list, panels fail on an empty cluster."""
    found = broken(EVENTS, lambda item: item["attributes"].pop("fields"))
    assert found[0] == ("shape", "fields")
    assert {code for code, _ in found[1:]} == {"missing-field"}


@pytest.mark.parametrize(
    ("name", "code"), [("event.action", "agg-type"), ("time", "unknown-field"), (None, "unknown-field")]
)
def test_an_index_pattern_needs_a_date_for_its_time(name: str | None, code: str) -> None:
    assert broken(EVENTS, lambda item: item["attributes"].update(timeFieldName=name)) == [(code, "timeFieldName")]


def test_an_index_pattern_of_no_template_is_refused() -> None:
    assert broken(EVENTS, lambda item: item["attributes"].update(title="log-*")) == [("unknown-pattern", "title")]


# --- envelopes and references ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["7.10.1", "8.0.0", "new", 8])
def test_a_version_newer_than_the_screen_fails_the_whole_import(version: Any) -> None:
    found = broken(TABLE, lambda item: item["migrationVersion"].update(visualization=version))
    assert found == [("version", "migrationVersion")]


def test_an_older_version_and_none_are_migrated() -> None:
    assert broken(TABLE, lambda item: item["migrationVersion"].update(visualization="7.9.9")) == []
    assert broken(TABLE, lambda item: item.pop("migrationVersion")) == []


def test_an_attribute_the_screen_does_not_know_is_refused() -> None:
    assert broken(TABLE, lambda item: item["attributes"].update(notes="x")) == [("attribute", "notes")]


def test_a_title_is_needed() -> None:
    found = broken(f"{PREFIX}", lambda item: item["attributes"].update(title=""))
    assert found == [("shape", "title")]


def dashboard_of(*bodies: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in bodies)


def test_a_type_the_screen_refuses() -> None:
    other = {"type": "lens", "id": "x", "attributes": {"title": "x"}, "references": []}
    problems = check({FILE: BUILT + dashboard_of(other)})
    assert [(problem.code, problem.place, problem.line) for problem in problems] == [("type", "type", len(LINES) + 1)]


def test_ids_are_unique() -> None:
    (problem,) = check({FILE: BUILT + dashboard_of(LINES[-1])})
    assert (problem.code, problem.line) == ("duplicate-id", len(LINES) + 1)
    assert f"line {len(LINES)}" in problem.message


def test_an_object_in_two_files_must_be_the_same() -> None:
    assert check({FILE: BUILT, "other.ndjson": BUILT}) == []
    changed = BUILT.replace(b"Who is refused most", b"Who is refused now")
    problems = check({FILE: BUILT, "other.ndjson": changed})
    assert [(problem.file, problem.code) for problem in problems] == [("other.ndjson", "duplicate-id")]


def test_a_reference_to_nothing_is_found() -> None:
    found = broken(TABLE, lambda item: item["references"][0].update(id="gone"))
    assert found == [("dangling-reference", "references.0")]


def test_a_panel_of_the_dashboard_that_is_not_in_the_file_is_found() -> None:
    """The screen imports such a dashboard without a word."""
    kept = [each for each in LINES if each["id"] != TABLE]
    problems = check({FILE: dashboard_of(*kept)})
    assert [(problem.code, problem.object) for problem in problems] == [("dangling-reference", f"dashboard/{PREFIX}")]


def test_a_name_that_is_no_reference_is_found() -> None:
    place = "kibanaSavedObjectMeta.searchSourceJSON"
    found = broken(TABLE, inside(place, setting("indexRefName", "other")))
    assert found == [("dangling-reference", f"{place}.indexRefName")]
    assert broken(TABLE, lambda item: item.update(references=[])) == [("dangling-reference", f"{place}.indexRefName")]


def test_a_search_source_that_is_no_json_is_found() -> None:
    place = "kibanaSavedObjectMeta.searchSourceJSON"
    found = broken(TABLE, lambda item: item["attributes"]["kibanaSavedObjectMeta"].update(searchSourceJSON="{"))
    assert found == [("json", place), ("dangling-reference", f"{place}.indexRefName")]


# --- the grid -------------------------------------------------------------------------------------------------------


def panels(path: str, value: Any) -> list[tuple[str, str]]:
    return broken(PREFIX, inside("panelsJSON", setting(path, value)))


def test_panels_that_overlap_are_found() -> None:
    assert panels("1.gridData.x", 1) == [("grid", "panelsJSON.2.gridData")]
    assert panels("0.gridData.h", 8) == [("grid", "panelsJSON.1.gridData"), ("grid", "panelsJSON.2.gridData")]


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("7.gridData.w", 49, ("grid", "panelsJSON.7.gridData")),
        ("7.gridData.x", -1, ("grid", "panelsJSON.7.gridData")),
        ("7.gridData.h", 0, ("grid", "panelsJSON.7.gridData")),
        ("7.gridData.h", "9", ("shape", "panelsJSON.7.gridData")),
        ("7.gridData", None, ("shape", "panelsJSON.7.gridData")),
        ("7.panelIndex", "1", ("panel-index", "panelsJSON.7.panelIndex")),
        ("7.gridData.i", "9", ("panel-index", "panelsJSON.7.panelIndex")),
    ],
)
def test_a_panel_that_is_not_on_the_grid(path: str, value: Any, problem: tuple[str, str]) -> None:
    assert panels(path, value) == [problem]


def test_a_panel_that_names_no_reference_is_found_and_so_is_the_reference_left_over() -> None:
    assert panels("7.panelRefName", "panel_99") == [
        ("dangling-reference", "panelsJSON.7.panelRefName"),
        ("unused-reference", "references"),
    ]


def test_a_dashboard_without_panels_is_found() -> None:
    found = broken(PREFIX, inside("panelsJSON", lambda _panels: []))
    assert found[0] == ("shape", "panelsJSON")
    assert broken(PREFIX, inside("panelsJSON", lambda _panels: [1]))[0] == ("shape", "panelsJSON.0")


def test_a_time_range_that_is_restored_must_be_there() -> None:
    assert broken(PREFIX, lambda item: item["attributes"].pop("timeFrom")) == [("shape", "timeRestore")]


# --- files ----------------------------------------------------------------------------------------------------------


def test_lines_that_are_no_objects_are_found_and_the_rest_is_checked() -> None:
    problems = check({FILE: b"{\n\n[1]\n" + BUILT})
    assert [(problem.line, problem.code) for problem in problems] == [(1, "json"), (3, "shape")]
    assert problems[0].where == f"{FILE}:1"


def test_an_empty_file_is_found() -> None:
    assert [problem.code for problem in check({FILE: b""})] == ["empty"]


@pytest.mark.parametrize("junk", [{}, {"type": 1, "id": None, "attributes": [], "references": 5}, {"references": [1]}])
def test_nothing_that_is_json_makes_the_check_itself_fail(junk: dict[str, Any]) -> None:
    assert check({FILE: dashboard_of(junk)})


@pytest.mark.parametrize("kind", ["dashboard", "search", "visualization", "index-pattern"])
@pytest.mark.parametrize("value", [None, 1, "{", "[]", "1", "null", '{"a": 1}', [], {}])
def test_no_attribute_makes_the_check_itself_fail(kind: str, value: Any) -> None:
    whole = next(each for each in LINES if each["type"] == kind)
    for attribute in whole["attributes"]:
        changed = {**whole, "attributes": {**whole["attributes"], attribute: value}}
        others = [each for each in LINES if each["id"] != whole["id"]]
        check({FILE: dashboard_of(*others, changed)})


def project(folder: Path) -> Path:
    (folder / "src").mkdir()
    for path in (dashboards_dir() / "src").iterdir():
        (folder / "src" / path.name).write_bytes(path.read_bytes())
    write(home=folder)
    return folder


def test_a_committed_file_that_is_old_edited_left_over_or_missing_is_found(tmp_path: Path) -> None:
    home = project(tmp_path)
    assert check_committed(home) == []
    saved = home / "saved_objects"
    (saved / FILE).write_bytes(BUILT.replace(b"Who is refused most", b"Who is refused now"))
    (saved / "old.ndjson").write_bytes(BUILT)
    codes = {(problem.file, problem.code) for problem in check_committed(home)}
    assert codes >= {(FILE, "stale"), ("old.ndjson", "no-source")}
    (saved / "old.ndjson").unlink()
    (saved / FILE).unlink()
    assert [(problem.file, problem.code) for problem in check_committed(home)] == [(FILE, "stale")]
