"""Alert documents: ECS signals with ids derived from what they are about. Pure.

``event.severity`` grows with the level, 10 to 90; ``event.risk_score`` is 0 to 100. Field meanings:
https://www.elastic.co/docs/reference/ecs (event, rule, threat); ``siem.*`` is described in ``docs/`` and mapped in
``mappings/index/siem-alerts.json``, which is strict: a field this module writes and the mapping lacks is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from loader.clock import rfc3339
from loader.detection.attack_names import TECHNIQUE_NAMES
from loader.detection.matches import TAKEN_PATHS, Match, values
from loader.detection.model import Level, Rule
from loader.detection.reason import clean, describe_event
from loader.discover import Link
from loader.index.identifiers import derived_id

ECS_VERSION = "9.1.0"
SEVERITY: dict[Level, int] = {"informational": 10, "low": 30, "medium": 50, "high": 70, "critical": 90}
RISK: dict[Level, float] = {"informational": 5.0, "low": 21.0, "medium": 47.0, "high": 73.0, "critical": 99.0}
#: Links to events that one alert holds at most; ``siem.evidence_total`` counts them all.
EVIDENCE_CAP = 100
ALERTS_PREFIX = "siem-alerts-"

_MOST_VALUES = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FIRST, _LAST = -62_135_596_800_000, 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert: where it belongs, and its document as it is when nobody has touched it."""

    index: str
    id: str
    body: dict[str, Any]


#: Told of alerts that are in the cluster, before it is remembered that their events were examined: new ones, those that
#: were there already, and those that were withdrawn. It may be told of the same ones any number of times.
Announce = Callable[[Sequence[Alert]], None]


def linked(alert: Alert, link: Link | None) -> Alert:
    """Return ``alert`` with a link to its events as ``event.url``, where the screen's address is known."""
    url = link(alert.id, alert.body) if link else None
    if url is None:
        return alert
    return Alert(alert.index, alert.id, {**alert.body, "event": {**alert.body["event"], "url": url}})


def event_alert_id(rule_uuid: str, event_id: str) -> str:
    """Return the id of the alert that a rule raises for one event."""
    return derived_id(rule_uuid, event_id)


def alerts_index(time: int) -> str:
    """Return ``siem-alerts-YYYY.MM`` for a time in milliseconds."""
    moment = at(time)
    return f"{ALERTS_PREFIX}{moment.year:04d}.{moment.month:02d}"


def at(time: int) -> datetime:
    """Return milliseconds since 1970 as a moment in UTC, moved into the years 1 to 9999."""
    return _EPOCH + timedelta(milliseconds=min(max(time, _FIRST), _LAST))


def event_alert(rule: Rule, match: Match, *, now: datetime, historic: bool) -> Alert:
    """Return the alert of a rule for one event."""
    reason = describe_event(match.source)
    body = alert_body(rule, [match], reason=reason, time=match.time, now=now)
    body["siem"]["historic"] = historic
    return Alert(alerts_index(match.time), event_alert_id(rule.uuid, match.id), body)


def alert_body(
    rule: Rule, evidence: Sequence[Match], *, reason: str, time: int, now: datetime, total: int | None = None
) -> dict[str, Any]:
    """Return an open alert about ``evidence`` (in the order of time; at least one event).

    ``total`` is the number of events when ``evidence`` does not hold them all. What events disagree on becomes a list.
    """
    body = entity(evidence)
    count = len(evidence) if total is None else total
    body["@timestamp"] = rfc3339(at(time))
    body["message"] = f"{clean(rule.title)}: {reason}"
    body["ecs"] = {"version": ECS_VERSION}
    body["tags"] = list(rule.tags)
    body["event"] = body.get("event", {}) | {
        "kind": "signal",
        "created": rfc3339(now),
        "severity": SEVERITY[rule.level],
        "risk_score": RISK[rule.level],
        "reason": reason,
        "start": rfc3339(at(evidence[0].time)),
        "end": rfc3339(at(evidence[-1].time)),
    }
    body["rule"] = rule_fields(rule)
    if threat := threat_fields(rule):
        body["threat"] = threat
    body["siem"] = body.get("siem", {}) | {
        "status": "open",
        "level": rule.level,
        **({"runbook": rule.runbook} if rule.runbook else {}),
        "count": count,
        "first_event": rfc3339(at(evidence[0].time)),
        "last_event": rfc3339(at(evidence[-1].time)),
        "evidence": [
            {"index": match.index, "id": match.id, "timestamp": rfc3339(at(match.time))}
            for match in evidence[:EVIDENCE_CAP]
        ],
        "evidence_total": count,
    }
    return body


def rule_fields(rule: Rule) -> dict[str, Any]:
    """Return ECS ``rule.*``: ``id`` is the rule's readable name, ``version`` begins its content hash."""
    fields: dict[str, Any] = {
        "id": rule.name,
        "uuid": rule.uuid,
        "name": rule.title,
        "version": rule.content_hash[:12],
        "description": rule.description,
        "author": [name.strip() for name in rule.author.split(",") if name.strip()],
        "license": rule.license,
        "reference": list(rule.references),
        "ruleset": rule.path.parent.name,
        "category": rule.logsource.service or rule.logsource.category or rule.logsource.product or "",
    }
    return {name: value for name, value in fields.items() if value}


def threat_fields(rule: Rule) -> dict[str, Any]:
    """Return ECS ``threat.*`` from the rule's ATT&CK tags; empty when there are none."""
    threat = rule.threat
    if not (threat.tactics or threat.techniques):
        return {}
    fields: dict[str, Any] = {"framework": "MITRE ATT&CK"}
    if threat.tactics:
        fields["tactic"] = {"id": [t.id for t in threat.tactics], "name": [t.name for t in threat.tactics]}
    if threat.techniques:
        ids = list(dict.fromkeys(technique.id for technique in threat.techniques))
        fields["technique"] = _named(ids)
        narrower = list(dict.fromkeys(t.subtechnique for t in threat.techniques if t.subtechnique))
        if narrower:
            fields["technique"]["subtechnique"] = _named(narrower)
    return fields


def _named(ids: list[str]) -> dict[str, Any]:
    names = [TECHNIQUE_NAMES[number] for number in ids if number in TECHNIQUE_NAMES]
    return {"id": ids, "name": names} if names else {"id": ids}


def entity(evidence: Sequence[Match]) -> dict[str, Any]:
    """Return who and where: what the events have of the fields that an alert takes over, each value once."""
    body: dict[str, Any] = {}
    for path in TAKEN_PATHS:
        found = [value for match in evidence for value in values(match.source, path) if isinstance(value, (str, int))]
        kept = list(dict.fromkeys(found))[:_MOST_VALUES]
        if kept:
            _put(body, path, kept[0] if len(kept) == 1 else kept)
    return body


def _put(body: dict[str, Any], path: str, value: Any) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[name] = value


def merge_siem(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` with ``extra`` added to its ``siem`` object."""
    return {**body, "siem": {**body["siem"], **extra}}
