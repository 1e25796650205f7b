"""Alerts about the SIEM itself: a rule that cannot be run is a gap in what is watched, and somebody has to know."""

from __future__ import annotations

from opensearchpy import OpenSearch

from loader.clock import Clock, rfc3339
from loader.detection.alert_store import AlertStore
from loader.detection.alerts import ECS_VERSION, RISK, SEVERITY, Alert, alerts_index
from loader.detection.reason import clean
from loader.detection.report import RunReport
from loader.index.identifiers import derived_id

#: The rule of these alerts. It is in no file: it cannot be switched off by a mistake in one.
RULE_UUID = "5d3c7a52-7a5e-4c1f-9d0e-6a3b1f0c2e11"
_TITLE = "A detection rule could not be run"
_DAY_MS = 86_400_000
_LONGEST = 2000


def write_system_alerts(client: OpenSearch, report: RunReport, *, clock: Clock) -> None:
    """Write one alert a day for each rule that failed in this cycle.

    Raises:
        ClusterError: it cannot be written.
    """
    failures = report.errors
    if not failures:
        return
    now = clock.now()
    time = int(now.timestamp() * 1000)
    alerts = []
    for name, error in failures.items():
        reason = f"Rule {clean(name)} could not be run: {clean(error, _LONGEST)}"
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
                "severity": SEVERITY["medium"],
                "risk_score": RISK["medium"],
                "reason": reason,
            },
            "rule": {"id": "siem_rule_failed", "uuid": RULE_UUID, "name": _TITLE, "ruleset": "siem"},
            "siem": {"status": "open", "level": "medium", "count": 1, "group": {"rule": name}, "group_key": name},
        }
        alerts.append(Alert(alerts_index(time), derived_id(RULE_UUID, name, time // _DAY_MS), body))
    AlertStore(client, clock=clock).create(alerts)
