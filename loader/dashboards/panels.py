"""A visualisation's source turned into the ``visState`` the screen draws."""

from __future__ import annotations

from typing import Any

from loader.dashboards.flavour import Flavour
from loader.dashboards.sources import Bucket, DateHistogram, Metric, Terms, Visualisation


def vis_state(panel: Visualisation, flavour: Flavour) -> dict[str, Any]:
    """Return the ``visState`` of ``panel``: metrics are numbered from 1, buckets after them."""
    aggs = [_metric(number, metric) for number, metric in enumerate(panel.metrics, start=1)]
    for position, bucket in enumerate(panel.buckets):
        role = {"table": "bucket", "metric": "group", "histogram": "group" if position else "segment"}[panel.kind]
        aggs.append(_bucket(len(aggs) + 1, bucket, role, panel.metrics, flavour))
    params = {"table": _table, "metric": _numbers, "histogram": _histogram}[panel.kind](panel)
    return {"title": panel.title, "type": panel.kind, "aggs": aggs, "params": params}


def _agg(number: int, kind: str, role: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"id": str(number), "enabled": True, "type": kind, "schema": role, "params": params}


def _metric(number: int, metric: Metric) -> dict[str, Any]:
    params = {"customLabel": metric.label}
    if metric.field is not None:
        params["field"] = metric.field
    return _agg(number, metric.agg, "metric", params)


def _bucket(number: int, bucket: Bucket, role: str, metrics: list[Metric], flavour: Flavour) -> dict[str, Any]:
    if isinstance(bucket, Terms):
        labels = [metric.label for metric in metrics]
        params: dict[str, Any] = {
            "field": bucket.field,
            "size": bucket.size,
            "orderBy": str(labels.index(bucket.order_by) + 1 if bucket.order_by else 1),
            "order": bucket.order,
            "otherBucket": bucket.other is not None,
            "otherBucketLabel": bucket.other or "Other",
            "missingBucket": bucket.missing is not None,
            "missingBucketLabel": bucket.missing or "Missing",
            "customLabel": bucket.label,
        }
    elif isinstance(bucket, DateHistogram):
        params = {
            "field": bucket.field,
            "interval": "auto",
            "drop_partials": False,
            "min_doc_count": 1,
            "scaleMetricValues": False,
            "extended_bounds": {},
            **flavour.date_histogram_params,
        }
        if bucket.label is not None:
            params["customLabel"] = bucket.label
    else:
        named = [{"input": {"query": each.query, "language": "kuery"}, "label": each.label} for each in bucket.filters]
        params = {"filters": named}
    return _agg(number, bucket.agg, role, params)


def _table(_panel: Visualisation) -> dict[str, Any]:
    return {
        "perPage": 10,
        "showPartialRows": False,
        "showMetricsAtAllLevels": False,
        "showTotal": False,
        "totalFunc": "sum",
        "percentageCol": "",
    }


def _numbers(_panel: Visualisation) -> dict[str, Any]:
    return {
        "type": "metric",
        "addTooltip": True,
        "addLegend": False,
        "metric": {
            "percentageMode": False,
            "useRanges": False,
            "colorSchema": "Green to Red",
            "metricColorMode": "Labels",
            # Nothing happened is green, anything is red: these are numbers that should be zero.
            "colorsRange": [{"from": 0, "to": 1}, {"from": 1, "to": 1_000_000_000}],
            "invertColors": False,
            "labels": {"show": True},
            "style": {"bgFill": "#000", "bgColor": False, "labelColor": True, "subText": "", "fontSize": 36},
        },
    }


def _histogram(panel: Visualisation) -> dict[str, Any]:
    return {
        "type": "histogram",
        "grid": {"categoryLines": False},
        "categoryAxes": [
            {
                "id": "CategoryAxis-1",
                "type": "category",
                "position": "bottom",
                "show": True,
                "style": {},
                "scale": {"type": "linear"},
                "labels": {"show": True, "filter": True, "truncate": 100},
                "title": {},
            }
        ],
        "valueAxes": [
            {
                "id": "ValueAxis-1",
                "name": "LeftAxis-1",
                "type": "value",
                "position": "left",
                "show": True,
                "style": {},
                "scale": {"type": "linear", "mode": "normal"},
                "labels": {"show": True, "filter": False, "truncate": 100, "rotate": 0},
                "title": {"text": panel.metrics[0].label},
            }
        ],
        "seriesParams": [
            {
                "show": True,
                "type": "histogram",
                "mode": "stacked",
                "data": {"id": str(number), "label": metric.label},
                "valueAxis": "ValueAxis-1",
                "drawLinesBetweenPoints": True,
                "lineWidth": 2,
                "showCircles": True,
            }
            for number, metric in enumerate(panel.metrics, start=1)
        ],
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "times": [],
        "addTimeMarker": False,
        "labels": {"show": False},
        "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
    }
