"""Checks of what a saved object asks the index for: fields, aggregations, queries."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from loader.dashboards.dql import Is, Range, conditions, parse
from loader.dashboards.fields import Field
from loader.dashboards.problems import Item
from loader.dashboards.visstate import ROLES, VIS_STATE, FiltersAgg, HistogramVis, TermsAgg, VisState
from loader.errors import DashboardError

_GROUPABLE = {"string", "number", "boolean", "ip", "date"}
#: Aggregation → the types of fields it makes sense for.
AGG_TYPES = {
    "terms": _GROUPABLE,
    "cardinality": _GROUPABLE,
    "date_histogram": {"date"},
    "min": {"number", "date"},
    "max": {"number", "date"},
    "sum": {"number"},
    "avg": {"number"},
}
LEAVES = "aws.cloudtrail.leaves"

Fields = Mapping[str, Field]


def check_vis_state(item: Item, fields: Fields) -> None:
    """Hold ``visState`` to its schema, then every aggregation to the fields."""
    text = item.attributes.get("visState")
    try:
        state = VIS_STATE.validate_json(text if isinstance(text, str) else "")
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            item.add(f"visState.{'.'.join(map(str, found['loc']))}".rstrip("."), "vis-state", found["msg"])
        return
    if state.title != item.attributes.get("title"):
        item.add("visState.title", "title", "is not the visualisation's title")
    _check_ids(item, state)
    for position, agg in enumerate(state.aggs):
        place = f"visState.aggs.{position}"
        if agg.role not in ROLES[state.type]:
            item.add(f"{place}.schema", "role", f"a {state.type} has no {agg.role}")
        if isinstance(agg, FiltersAgg):
            for number, each in enumerate(agg.params.filters):
                check_query(item, each.input.query, f"{place}.params.filters.{number}", fields)
        elif agg.type != "count":
            check_aggregated(item, agg.params.field, agg.type, f"{place}.params.field", fields)
        if isinstance(agg, TermsAgg) and agg.params.missing_bucket:
            field = fields.get(agg.params.field)
            if field is not None and field.type != "string":
                item.add(
                    f"{place}.params.missingBucket", "missing-bucket", "works for text only; the screen ignores it"
                )


def _check_ids(item: Item, state: VisState) -> None:
    ids = [agg.id for agg in state.aggs]
    for repeated in sorted({each for each in ids if ids.count(each) > 1}):
        item.add("visState.aggs", "agg-id", f"two aggregations have the id {repeated}")
    metrics = {agg.id for agg in state.aggs if agg.role == "metric"}
    if not metrics:
        item.add("visState.aggs", "role", "there is no metric")
    for position, agg in enumerate(state.aggs):
        if isinstance(agg, TermsAgg) and agg.params.order_by not in metrics | {"_key"}:
            message = f"{agg.params.order_by} is no metric's id"
            item.add(f"visState.aggs.{position}.params.orderBy", "agg-id", message)
    if isinstance(state, HistogramVis):
        axes = {axis.id for axis in state.params.value_axes}
        for position, series in enumerate(state.params.series_params):
            place = f"visState.params.seriesParams.{position}"
            if series.data.id not in metrics:
                item.add(f"{place}.data.id", "agg-id", f"{series.data.id} is no metric's id")
            if series.value_axis not in axes:
                item.add(f"{place}.valueAxis", "agg-id", f"there is no axis {series.value_axis}")
        if [agg.role for agg in state.aggs].count("segment") != 1:
            item.add("visState.aggs", "role", "a histogram needs exactly one segment, its category axis")


def check_aggregated(item: Item, name: str, agg: str, place: str, fields: Fields) -> None:
    """Check that ``agg`` over the field gives right answers, and soon."""
    field = check_known(item, name, place, fields)
    if field is None:
        return
    if not field.aggregatable:
        why = (
            "payload leaves are for searching"
            if name == LEAVES
            else f"a {field.mapping_type} has no values to group by"
        )
        item.add(place, "not-aggregatable", f"{name} cannot be aggregated: {why}")
    elif field.mapping_type == "wildcard":
        item.add(place, "slow", f"{name} has no doc values: the cluster would read the source of every document")
    elif field.type not in AGG_TYPES[agg]:
        item.add(place, "agg-type", f"{agg} does not work on {name}, which is of type {field.type}")


def check_known(item: Item, name: str, place: str, fields: Fields) -> Field | None:
    """Return the field, or None with a problem."""
    field = fields.get(name)
    if field is None:
        item.add(place, "unknown-field", f"{name} is not in the mapping")
    return field


def check_search(item: Item, fields: Fields) -> None:
    """Check the columns and the order of a saved search."""
    columns = item.attributes.get("columns")
    if not isinstance(columns, list) or not columns:
        item.add("columns", "shape", "expected a list of fields")
    else:
        for position, name in enumerate(columns):
            check_known(item, str(name), f"columns.{position}", fields)
    sort = item.attributes.get("sort")
    if not isinstance(sort, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in sort):
        item.add("sort", "shape", "expected a list of [field, asc or desc]")
        return
    for position, (name, order) in enumerate(sort):
        field = check_known(item, str(name), f"sort.{position}", fields)
        if field is not None and not field.aggregatable:
            item.add(f"sort.{position}", "not-aggregatable", f"the cluster cannot sort by {name}")
        if order not in {"asc", "desc"}:
            item.add(f"sort.{position}", "shape", f"{order} is neither asc nor desc")


def check_query(item: Item, query: str, place: str, fields: Fields) -> None:
    """Check that the query is DQL, and that each condition names a field that can have the value."""
    try:
        found = list(conditions(parse(query)))
    except DashboardError as error:
        item.add(place, "dql", error.message)
        return
    for condition in found:
        if condition.field is None:
            item.add(place, "no-field", f"{condition.value!r} is looked for in every field: name one")
            continue
        field = check_known(item, condition.field, place, fields)
        if field is None:
            continue
        if not field.searchable:
            item.add(place, "not-searchable", f"{field.name} is not indexed")
        elif problem := _value_problem(condition, field):
            item.add(place, "value", f"{field.name}: {condition.value} {problem}")


def _value_problem(condition: Is | Range, field: Field) -> str | None:
    value = condition.value
    if isinstance(condition, Is) and condition.kind == "wildcard":
        if value == "*":
            return None
        if field.type != "string":
            return f"is a wildcard, and the field is of type {field.type}"
        if re.search(r"\s", str(value)):
            return "is taken apart at its blanks: any of the parts would match"
        # The screen sends a query_string, which OpenSearch 3.8.0 matches against the field's n-grams: nothing is found.
        if field.mapping_type == "wildcard" and "*" in str(value)[:-1]:
            return "finds nothing: in a field of type wildcard, the search bar's * works at the end only"
        return None
    fits: dict[str, Any] = {
        "boolean": isinstance(value, bool) or value in {"true", "false"},
        "number": isinstance(value, (int, float)) and not isinstance(value, bool),
        "ip": _is_address(value),
    }
    return None if fits.get(field.type, True) else f"is no value of type {field.type}"


def _is_address(value: object) -> bool:
    try:
        ipaddress.ip_network(str(value), strict=False)
    except ValueError:
        return False
    return True


def check_time_field(item: Item, fields: Fields) -> None:
    """Check the field that an index pattern's time range applies to."""
    name = item.attributes.get("timeFieldName")
    field = check_known(item, str(name), "timeFieldName", fields)
    if field is not None and field.type not in AGG_TYPES["date_histogram"]:
        item.add("timeFieldName", "agg-type", f"{name} is of type {field.type}, not a date")


def check_index_fields(item: Item, fields: Fields) -> None:
    """Check that an index pattern carries the fields of the mapping: no more, no fewer, no other."""
    listed = item.inner("fields", [])
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    carried = {str(entry.get("name")): entry for entry in entries}
    if len(carried) < len(entries):
        item.add("fields", "duplicate-field", "a field is listed twice")
    for name in sorted(fields.keys() - carried.keys()):
        item.add(f"fields.{name}", "missing-field", "is in the mapping, and a panel that names it would fail")
    for name in sorted(carried.keys() - fields.keys()):
        item.add(f"fields.{name}", "unknown-field", "is not in the mapping")
    for name in sorted(fields.keys() & carried.keys()):
        expected = fields[name].saved()
        differing = sorted(
            key for key in expected.keys() | carried[name].keys() if expected.get(key) != carried[name].get(key)
        )
        if differing:
            item.add(f"fields.{name}", "field-differs", f"the mapping says otherwise of {', '.join(differing)}")
