"""CloudTrail Insights: what AWS itself found unusual, in the form for trails and the form for event data stores.

https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-insights-fields-trails.html
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-insights-fields-lake.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from math import isfinite
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType

from loader.logtypes.cloudtrail_identity import related_names
from loader.logtypes.cloudtrail_parts import Output, member, members
from loader.logtypes.cloudtrail_record import Text
from loader.logtypes.leaves import Number, number_text
from loader.logtypes.times import Moment, shifted


class _Insight(Output):
    """``aws.cloudtrail.insight``."""

    type: Text
    state: Text
    event_source: Text
    event_name: Text
    error_code: Text
    baseline_average: float | UnsetType
    insight_average: float | UnsetType
    ratio: float | UnsetType
    insight_duration_minutes: float | UnsetType
    baseline_duration_minutes: float | UnsetType


class _Window(Output):
    start: Text
    end: Text


class InsightPart(Struct, frozen=True, gc=False):
    """What a document says of an Insight: whose activity, the window as members of ``event``, and its own fields.

    ``related`` is the member ``user`` of ``related``: the identities that AWS attributes the activity to.
    """

    source: Text
    name: Text
    window: bytes
    trail: bytes
    related: bytes


def insight_of(details: Any, others: Mapping[str, Any], moment: Moment) -> InsightPart | None:
    """Return the Insight in ``insightDetails`` (trails) or in the top-level keys ``others`` (event data stores)."""
    if isinstance(details, dict):
        context = _dict(details, "insightContext")
        statistics, attributions = _dict(context, "statistics"), context.get("attributions")
        names = [details.get(key) for key in ("insightType", "state", "eventSource", "eventName", "errorCode")]
        baseline = _number(_dict(statistics, "baseline").get("average"))
        average = _number(_dict(statistics, "insight").get("average"))
    elif "insightState" in others or "insightType" in others:
        statistics = _dict(others, "insightContext")
        attributions = _dict(statistics, "attributions").get("insightAttributions")
        keys = ("insightType", "insightState", "insightEventSource", "insightEventName", "insightErrorCode")
        names = [others.get(key) for key in keys]
        baseline, average = _number(statistics.get("baselineAverage")), _number(statistics.get("insightAverage"))
    else:
        return None
    minutes = _number(statistics.get("insightDuration"))
    kind, state, source, name, code = [text if type(text) is str else UNSET for text in names]
    fields = _Insight(
        kind,
        state,
        source,
        name,
        code,
        baseline,
        average,
        _ratio(average, baseline),
        minutes,
        _number(statistics.get("baselineDuration")),
    )
    start: Text = moment.text if state == "Start" else UNSET
    end: Text = moment.text if state == "End" else UNSET
    if end is not UNSET and isinstance(minutes, float):
        start = _before(moment, minutes)
    return InsightPart(source, name, members(_Window(start, end)), member(b"insight", fields), _users(attributions))


def _users(attributions: Any) -> bytes:
    """Return the identities behind the unusual activity, by ARN and by name; those of the baseline are not meant."""
    found: list[str] = []
    for entry in attributions if isinstance(attributions, list) else ():
        if isinstance(entry, dict) and entry.get("attribute") == "userIdentityArn":
            listed = entry.get("insight")
            values = [entry.get("insightValue")]
            values += [one.get("value") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
            for value in values:
                if type(value) is str and value.startswith("arn:"):
                    found += (value, value.rpartition("/")[2])
    return member(b"user", related_names(*found))


def _dict(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float | UnsetType:
    if isinstance(value, bool) or not isinstance(value, (int, Number, Raw)):
        return UNSET
    try:
        number = float(number_text(value))
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
        return shifted(moment, -timedelta(minutes=minutes)) or UNSET
    except OverflowError:
        return UNSET
