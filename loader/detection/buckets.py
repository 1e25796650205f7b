"""Alerts that fold several events: one a group and bucket of time, as it has to be. Pure.

Everything in such an alert follows from the events there are now; what an analyst wrote is taken over as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Any

from loader.clock import rfc3339
from loader.detection.alerts import EVIDENCE_CAP, Alert, alert_body, alerts_index, at
from loader.detection.correlation import DAY_MS, Group, Tree, Trigger, canonical, evidence
from loader.detection.lateness import is_historic
from loader.detection.matches import Match
from loader.detection.model import CompiledCorrelation
from loader.detection.places import Journey
from loader.detection.reason import clean, describe_event
from loader.detection.timespan import in_words
from loader.detection.window import Firing, Window
from loader.index.identifiers import derived_id

WITHDRAWN = "withdrawn"
#: What of ``siem`` belongs to the machine: everything else in a stored alert is somebody's, and stays.
_MACHINE = frozenset(
    (
        "level",
        "runbook",
        "verdict",
        "continues",
        "group",
        "group_key",
        "count",
        "suppressed",
        "first_event",
        "last_event",
        "evidence",
        "evidence_total",
        "baseline",
        "actor",
        "session",
    )
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One alert's place: group and number of the bucket of ``size`` milliseconds since 1970."""

    rule_uuid: str
    group: Group
    number: int
    size: int

    @property
    def start(self) -> int:
        """Return when it begins."""
        return self.number * self.size

    @property
    def end(self) -> int:
        """Return when the next one begins."""
        return self.start + self.size

    @property
    def id(self) -> str:
        """Return the alert's id."""
        return derived_id(self.rule_uuid, canonical(self.group), self.number)

    @property
    def index(self) -> str:
        """Return the index of the alert: that of the bucket's start, whatever is found later."""
        return alerts_index(self.start)

    @property
    def before(self) -> Bucket:
        """Return the bucket before it."""
        return Bucket(self.rule_uuid, self.group, self.number - 1, self.size)


@dataclass(frozen=True, slots=True)
class Content:
    """What a bucket holds: its triggers, the events they rest on, and the bucket it continues, if it does."""

    bucket: Bucket
    triggers: Sequence[Trigger]
    events: Sequence[Match]
    continues: str | None

    @property
    def shown(self) -> Sequence[Match]:
        """Return the events that the alert links."""
        return self.events[:EVIDENCE_CAP]


def content(bucket: Bucket, triggers: Sequence[Trigger]) -> Content | None:
    """Return what ``bucket`` holds, given its group's triggers in it and in the one before; ``None`` when nothing.

    It continues the bucket before if less than a bucket's length lies between that one's last trigger and its first.
    """
    inside = [trigger for trigger in triggers if bucket.start <= trigger.time < bucket.end]
    if not inside:
        return None
    earlier = [trigger.time for trigger in triggers if bucket.before.start <= trigger.time < bucket.start]
    continues = bucket.before.id if earlier and inside[0].time - earlier[-1] < bucket.size else None
    return Content(bucket, inside, evidence(inside), continues)


def compose(tree: Tree, found: Content, *, now: datetime, historic: bool, historic_after: timedelta) -> Alert:
    """Return the alert of a bucket as if nobody had touched it."""
    shown = found.shown
    rule = tree.root.rule
    reason = describe(tree, found)
    body = alert_body(rule, shown, reason=reason, time=found.triggers[0].time, now=now, total=len(found.events))
    body["siem"] |= {
        "count": len(found.events),
        "suppressed": len(found.triggers) - 1,
        "last_event": rfc3339(at(found.events[-1].time)),
        "historic": historic or all(is_historic(event, historic_after) for event in shown),
        "group": dict(found.bucket.group),
        "group_key": group_text(found.bucket.group),
    }
    body["event"]["end"] = body["siem"]["last_event"]
    if found.continues:
        body["siem"]["continues"] = found.continues
    if baseline := _baseline(found.triggers[0]):
        body["siem"]["baseline"] = baseline
    return Alert(found.bucket.index, found.bucket.id, body)


def revise(stored: Mapping[str, Any], fresh: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``fresh`` with what an analyst or another part of this SIEM wrote into ``stored``."""
    kept = {name: value for name, value in stored["siem"].items() if name not in _MACHINE}
    body = {**stored, **fresh, "siem": {**fresh["siem"], **kept}}
    body["event"] = {**fresh["event"], "created": stored["event"]["created"]}
    for name in ("user", "source", "cloud", "related", "aws", "threat"):
        if name not in fresh:
            body.pop(name, None)
    return body


def withdraw(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored alert as one that later events have refuted. Its evidence and status stay."""
    return {**stored, "siem": {**stored["siem"], "verdict": WITHDRAWN}}


def group_text(group: Group) -> str:
    """Return a group for people: ``cloud.region=us-east-1, user.name=alice``; a dash for the group of everything."""
    return ", ".join(f"{name}={'(none)' if value is None else clean(value)}" for name, value in group) or "-"


def describe(tree: Tree, found: Content) -> str:
    """Return why a bucket is an alert, as a line."""
    group = tuple((_said(name), value) for name, value in found.bucket.group)
    of_group = f" for {group_text(group)}" if group else ""
    first = describe_event(found.events[0].source)
    root = tree.root
    if not isinstance(root, CompiledCorrelation):
        count = len(found.events)
        times = "once" if count == 1 else f"{count} times"
        return f"{times} in {in_words(found.bucket.size)}{of_group}; first {first}"
    last = "last" if tree.windows[id(root)].type == "absence" else "first"
    return f"{_condition_met(root, tree.windows[id(root)], found)}{of_group}; {last} {first}"


def _said(field: str) -> str:
    """Return a field as a line has it: what all of CloudTrail's begin with says nothing."""
    return field.removeprefix("aws.cloudtrail.").removeprefix("flattened.")


def _condition_met(root: CompiledCorrelation, window: Window, found: Content) -> str:
    what = " and ".join(dict.fromkeys(f"“{clean(child.rule.title)}”" for child in root.rules.values()))
    span, baseline = in_words(window.span), in_words(window.baseline)
    firings = [trigger.firing for trigger in found.triggers if trigger.firing]
    strongest = max(firings, key=lambda firing: firing.measure)
    measure, fields = _number(strongest.measure), ", ".join(map(_said, root.condition.fields))
    match window.type:
        case "event_count":
            return f"{measure} times {what} within {span}"
        case "value_count":
            return f"{measure} different values of {fields} in {what} within {span}"
        case "value_sum":
            return f"{fields} of {what} adds up to {measure} within {span}"
        case "value_avg":
            return f"{fields} of {what} is {measure} on average within {span}"
        case "value_median":
            return f"{fields} of {what} has the median {measure} within {span}"
        case "value_percentile":
            return f"{fields} of {what} has the {window.percentile or 50:g}th percentile {measure} within {span}"
        case "temporal_ordered":
            return f"{what}, in this order, within {span}"
        case "new_terms":
            return f"first {what}{_news(fields, firings)} in {_known(firings, window.baseline)}"
        case "spike":
            known = _known([strongest], window.baseline)
            return f"{len(found.events)} times {what} within {span}, {_ratio(strongest)} of the {known} before"
        case "absence":
            return f"no {what} for {span}, after {measure} within {baseline if window.baseline else span}"
        case "impossible_travel" if strongest.journey:
            return f"{what}: {_travelled(strongest.journey)}"
        case _:
            return f"{what} within {span}"


def _travelled(journey: Journey) -> str:
    start, end = (
        f"{clean(seen.address)} ({clean(seen.place.name) or 'unnamed'})" for seen in (journey.start, journey.end)
    )
    speed = f"{journey.speed_kmh:,.0f} km/h" if journey.milliseconds else "at one moment"
    return f"{start}, then {end}, at least {journey.distance_km:,.0f} km apart, {speed}"


def _ratio(firing: Firing) -> str:
    if firing.measure == inf:
        return "against none at all"
    return f"{float(firing.measure):.3g} times the mean of {firing.expected or 0:.3g}"


def _known(firings: Sequence[Firing], baseline: int) -> str:
    """Return how long the baseline is, and of how many days there are events while that is not all of it."""
    known = min((firing.known_days for firing in firings if firing.known_days is not None), default=None)
    if known is None or known >= baseline // DAY_MS:
        return in_words(baseline)
    return f"{in_words(baseline)} (of which the index holds {known})"


def _news(fields: str, firings: Sequence[Firing]) -> str:
    terms = dict.fromkeys(term for firing in firings for term in firing.news if term)
    shown = ", ".join(clean(" ".join(map(str, term))) for term in list(terms)[:5])
    return f" with {fields} {shown}" if shown else ""


def _number(value: Any) -> str:
    return f"{float(value):.6g}" if value != inf else "infinitely many"


def _baseline(trigger: Trigger) -> dict[str, Any] | None:
    """Return what an extension compared with, for the alert to explain itself."""
    if trigger.run is None or trigger.firing is None or trigger.run.window.baseline <= 0:
        return None
    window = trigger.run.window
    end = trigger.event.time - (window.span if window.type == "spike" else 0)
    found: dict[str, Any] = {"from": rfc3339(at(end - window.baseline)), "to": rfc3339(at(end))}
    if trigger.firing.expected is not None:
        found["expected"] = trigger.firing.expected
    if trigger.firing.measure != inf:
        found["measure"] = float(trigger.firing.measure)
    return found
