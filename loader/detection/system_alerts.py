"""Alerts about the SIEM itself: a rule that cannot be run is a gap in what is watched, and somebody has to know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from opensearchpy import OpenSearch

from loader.clock import Clock, rfc3339
from loader.detection.alert_store import AlertStore
from loader.detection.alerts import ECS_VERSION, RISK, SEVERITY, Alert, Announce, alerts_index
from loader.detection.model import Level
from loader.detection.reason import clean
from loader.errors import RuleError
from loader.index.identifiers import derived_id

#: The rule of these alerts. It is in no file: it cannot be switched off by a mistake in one.
RULE_UUID = "5d3c7a52-7a5e-4c1f-9d0e-6a3b1f0c2e11"
_TITLE = "A detection rule could not be run"
_DAY_MS = 86_400_000
_LONGEST = 2000


def write_system_alerts(
    client: OpenSearch, failures: Mapping[str, str], *, clock: Clock, announce: Announce | None
) -> str | None:
    """Write one alert a day for each rule that failed: why, by the rule's name. Return what could not be noted.

    Raises:
        ClusterError: it cannot be written.
    """
    now = clock.now()
    alerts = [
        system_alert(
            uuid=RULE_UUID,
            name="siem_rule_failed",
            title=_TITLE,
            level="medium",
            reason=f"Rule {clean(name)} could not be run: {clean(error, _LONGEST)}",
            group={"rule": name},
            now=now,
        )
        for name, error in failures.items()
    ]
    if not alerts:
        return None
    store = AlertStore(client, clock=clock, announce=announce)
    try:
        store.create(alerts)
        store.announce(alerts)
    except RuleError as error:  # there is no rule whose error this could be; the rule that failed fails again
        return f"the system's own alerts: {error}"
    return None


def system_alert(
    *, uuid: str, name: str, title: str, level: Level, reason: str, group: Mapping[str, str], now: datetime
) -> Alert:
    """Return an alert about the SIEM itself: one a day for each rule ``uuid`` and ``group``."""
    time = int(now.timestamp() * 1000)
    body = {
        "@timestamp": rfc3339(now),
        "message": reason,
        "ecs": {"version": ECS_VERSION},
        "event": {
            "kind": "signal",
            "category": ["configuration"],
            "type": ["info"],
            "created": rfc3339(now),
            "dataset": "siem.detection",
            "severity": SEVERITY[level],
            "risk_score": RISK[level],
            "reason": reason,
        },
        "rule": {"id": name, "uuid": uuid, "name": title, "ruleset": "siem"},
        "siem": {
            "status": "open",
            "level": level,
            "count": 1,
            "group": dict(group),
            "group_key": ", ".join(group.values()),
        },
    }
    return Alert(alerts_index(time), derived_id(uuid, *group.values(), time // _DAY_MS), body)
