"""What the last cycle came to, kept in ``siem-status`` for `siem status`: rules that fail and since when, and more.

It is written after each cycle, by whoever ran it; a cycle that failed as a whole leaves the one before.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.clock import Clock, rfc3339
from loader.detection.alerts import Announce
from loader.detection.compile import Pack
from loader.detection.model import Filter
from loader.detection.report import RunReport
from loader.detection.system_alerts import write_system_alerts
from loader.errors import ClusterError

STATUS_INDEX = "siem-status"

log = logging.getLogger(__name__)

_ID = "detection"
_LONGEST = 2000


def record_cycle(
    client: OpenSearch, report: RunReport, pack: Pack, *, clock: Clock, holder: str, announce: Announce | None = None
) -> None:
    """Keep what a cycle came to, and raise alerts about rules that could not even be compiled.

    Nothing is raised: a cycle that is done is done. What cannot be written is logged.
    """
    try:
        broken = {str(problem.path.stem): f"{problem.where}: {problem.message}" for problem in pack.errors}
        write_system_alerts(client, broken, clock=clock, announce=announce)
        before = read_cycle(client) or {}
        body = _document(report, pack, before, clock=clock, holder=holder)
        client.index(index=STATUS_INDEX, id=_ID, body=body)
    except (ClusterError, TransportError) as error:
        log.warning("the cycle's status was not written", extra={"error": str(error)})


def read_cycle(client: OpenSearch) -> dict[str, Any] | None:
    """Return what the last cycle came to; ``None`` before the first.

    Raises:
        ClusterError: the cluster cannot be asked.
    """
    try:
        found: dict[str, Any] = client.get(index=STATUS_INDEX, id=_ID)["_source"]
    except NotFoundError:
        return None
    except TransportError as error:
        raise ClusterError(f"cannot read detection's status: {error.error}", where=STATUS_INDEX) from None
    return found


def add_up(before: Mapping[str, Any], report: RunReport, now: str) -> dict[str, Any]:
    """Return what each exception (by its name) has taken out since it first did: rules' events, and when it did last.

    A figure, not an account: what is examined again after a crash counts again.
    """
    found = {name: dict(entry) for name, entry in before.items()}
    for by_filter in report.filtered_by.values():
        for name, events in by_filter.items():
            entry = found.setdefault(name, {"events": 0, "since": now})
            entry["events"] += events
            entry["last"] = now
    return found


def expired(filters: tuple[Filter, ...], today: date) -> list[Filter]:
    """Return the exceptions that have expired. They still hold: an exception that ends by itself would flood people."""
    found = []
    for one in filters:
        try:
            if one.expires and date.fromisoformat(one.expires) < today:
                found.append(one)
        except ValueError:
            continue  # the lint says so
    return found


def _document(report: RunReport, pack: Pack, before: Mapping[str, Any], *, clock: Clock, holder: str) -> dict[str, Any]:
    now = clock.now()
    since = {entry["rule"]: entry["since"] for entry in before.get("report", {}).get("errors", ())}
    places = {rule.name: rule.where for rule in pack.known}
    errors = [
        {
            "rule": name,
            "where": places.get(name, ""),
            "since": since.get(name, rfc3339(now)),
            "message": message[:_LONGEST],
        }
        for name, message in report.errors.items()
    ] + [
        {
            "rule": problem.path.stem,
            "where": problem.where,
            "since": since.get(problem.path.stem, rfc3339(now)),
            "message": problem.message[:_LONGEST],
        }
        for problem in pack.errors
    ]
    return {
        "updated": rfc3339(now),
        "holder": holder,
        "complete": report.complete,
        "seconds": round(report.seconds, 3),
        "errors": len(errors),
        "report": {
            "rules": len(report.rules),
            "examined": report.examined,
            "alerts_new": report.alerts_new,
            "uuids": [count.uuid for count in report.rules],
            "patterns": list(report.patterns),
            "errors": errors,
            "not_run": [{"rule": one.rule.name, "why": one.reason} for one in pack.waiting],
            "learning": report.learning,
            "exceptions": add_up(before.get("report", {}).get("exceptions", {}), report, rfc3339(now)),
            "unreadable": list(report.unreadable),
            "notes": report.notes,
            "expired_filters": [
                {"filter": one.name, "where": one.where, "owner": one.owner, "expired": one.expires}
                for one in expired(pack.filters, now.date())
            ],
        },
    }
