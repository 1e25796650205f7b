"""The search a visualisation sends, so that a cluster can be asked whether the panel would work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loader.dashboards.dql import parse, to_search
from loader.dashboards.fields import Field
from loader.dashboards.visstate import (
    Agg,
    CountAgg,
    DateHistogramAgg,
    FiltersAgg,
    MetricAgg,
    TermsAgg,
    VisState,
)

#: What the screen puts for a value that is not there.
MISSING = "__missing__"
_CALENDAR = {"auto": "1h", "m": "1m", "h": "1h", "d": "1d", "w": "1w", "M": "1M"}


def search_body(state: VisState, query: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the ``_search`` body of a visualisation: no hits, its query, its buckets nested in their order.

    ``fields`` are those of the index pattern. The time range, which the screen adds, is left out, and an automatic
    interval is an hour.

    Raises:
        DashboardError: ``query`` or the query of a bucket is not DQL.
    """
    metrics = [agg for agg in state.aggs if isinstance(agg, CountAgg | MetricAgg)]
    # The category axis comes first, as on the screen, wherever it stands in the list.
    buckets = sorted((agg for agg in state.aggs if agg.role != "metric"), key=lambda agg: agg.role != "segment")
    body: dict[str, Any] = {"size": 0, "track_total_hits": True, "query": to_search(parse(query), fields)}
    aggs = _nested(buckets, metrics, fields)
    if aggs:
        body["aggs"] = aggs
    return body


def _nested(
    buckets: Sequence[Agg], metrics: Sequence[CountAgg | MetricAgg], fields: Mapping[str, Field]
) -> dict[str, Any]:
    if not buckets:
        return {agg.id: {agg.type: {"field": agg.params.field}} for agg in metrics if isinstance(agg, MetricAgg)}
    bucket, *inner = buckets
    body: dict[str, Any] = {}
    aggs: dict[str, Any] = _nested(inner, metrics, fields)
    if isinstance(bucket, TermsAgg):
        params = bucket.params
        ordering = next((agg for agg in metrics if agg.id == params.order_by), None)
        by = "_key" if params.order_by == "_key" else "_count"
        if isinstance(ordering, MetricAgg):
            by = ordering.id
            aggs = {**aggs, ordering.id: {ordering.type: {"field": ordering.params.field}}}
        body["terms"] = {"field": params.field, "size": params.size, "order": {by: params.order}}
        if params.missing_bucket and fields[params.field].type == "string":
            body["terms"]["missing"] = MISSING
    elif isinstance(bucket, DateHistogramAgg):
        interval = _CALENDAR[bucket.params.interval]
        body["date_histogram"] = {
            "field": bucket.params.field,
            "calendar_interval": interval,
            "min_doc_count": bucket.params.min_doc_count,
        }
    elif isinstance(bucket, FiltersAgg):
        named = {each.label: to_search(parse(each.input.query), fields) for each in bucket.params.filters}
        body["filters"] = {"filters": named}
    if aggs:
        body["aggs"] = aggs
    return {bucket.id: body}
