"""CloudTrail Insights: what AWS itself found unusual, in the form for trails and the form for event data stores.

https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-insights-fields-trails.html
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-insights-fields-lake.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from math import isfinite
from typing import Any

from msgspec import UNSET, UnsetType

from loader.logtypes.cloudtrail_document import Insight
from loader.logtypes.cloudtrail_record import Text
from loader.logtypes.leaves import Number
from loader.logtypes.times import Moment


@dataclass(frozen=True, slots=True)
class InsightPart:
    """What a document says of an Insight: the fields, and the window of unusual activity."""

    fields: Insight
    start: Text
    end: Text


def insight_of(details: Any, others: Mapping[str, Any], moment: Moment) -> InsightPart | None:
    """Return the Insight in ``insightDetails`` (trails) or in the top-level keys ``others`` (event data stores)."""
    if isinstance(details, dict):
        context = _dict(details, "insightContext")
        statistics = _dict(context, "statistics")
        names = [details.get(key) for key in ("insightType", "state", "eventSource", "eventName", "errorCode")]
        baseline = _number(_dict(statistics, "baseline").get("average"))
        average = _number(_dict(statistics, "insight").get("average"))
    elif "insightState" in others or "insightType" in others:
        statistics = _dict(others, "insightContext")
        keys = ("insightType", "insightState", "insightEventSource", "insightEventName", "insightErrorCode")
        names = [others.get(key) for key in keys]
        baseline, average = _number(statistics.get("baselineAverage")), _number(statistics.get("insightAverage"))
    else:
        return None
    minutes = _number(statistics.get("insightDuration"))
    kind, state, source, name, code = [text if type(text) is str else UNSET for text in names]
    fields = Insight(
        type=kind,
        state=state,
        event_source=source,
        event_name=name,
        error_code=code,
        baseline_average=baseline,
        insight_average=average,
        ratio=_ratio(average, baseline),
        insight_duration_minutes=minutes,
        baseline_duration_minutes=_number(statistics.get("baselineDuration")),
    )
    start: Text = moment.text if state == "Start" else UNSET
    end: Text = moment.text if state == "End" else UNSET
    if end is not UNSET and isinstance(minutes, float):
        start = _before(moment, minutes)
    return InsightPart(fields, start, end)


def _dict(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float | UnsetType:
    if isinstance(value, bool) or not isinstance(value, (int, float, Number)):
        return UNSET
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return UNSET
    return number if isfinite(number) else UNSET


def _ratio(average: float | UnsetType, baseline: float | UnsetType) -> float | UnsetType:
    """Return how many times the baseline the activity was; nothing for a baseline of 0."""
    if isinstance(average, float) and isinstance(baseline, float) and baseline > 0:
        ratio = average / baseline
        return round(ratio, 6) if isfinite(ratio) else UNSET
    return UNSET


def _before(moment: Moment, minutes: float) -> Text:
    try:
        start = datetime.fromtimestamp(moment.epoch, timezone.utc) - timedelta(minutes=minutes)
    except (OverflowError, ValueError, OSError):
        return UNSET
    return f"{start.year:04}-{start:%m-%dT%H:%M:%SZ}"
