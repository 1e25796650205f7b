"""What an analyst does with alerts: look, acknowledge, close. The machine opens alerts and never closes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.clock import Clock, rfc3339
from loader.detection.alerts import ALERTS_PREFIX
from loader.errors import ClusterError, SiemError

Status = Literal["open", "acknowledged", "closed"]
STATUSES: tuple[Status, ...] = ("open", "acknowledged", "closed")
_PATTERN = f"{ALERTS_PREFIX}*"
_NOTE_CHARS = 10_000


class NoSuchAlertError(SiemError):
    """No alert has this id, or several begin with it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which alerts to list. Empty means any; ``since`` is a time in RFC 3339."""

    statuses: Sequence[Status] = ("open", "acknowledged")
    levels: Sequence[str] = ()
    rule: str | None = None
    since: str | None = None
    #: Alerts whose events no longer founded them are left out unless asked for.
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class FoundAlert:
    """An alert as it lies in the cluster."""

    index: str
    id: str
    body: dict[str, Any]


def list_alerts(client: OpenSearch, selection: Selection, *, limit: int = 50) -> tuple[list[FoundAlert], int]:
    """Return the most severe and newest alerts, and how many there are in all.

    Raises:
        ClusterError: they cannot be read.
    """
    conditions: list[dict[str, Any]] = []
    if selection.statuses:
        conditions.append({"terms": {"siem.status": list(selection.statuses)}})
    if selection.levels:
        conditions.append({"terms": {"siem.level": list(selection.levels)}})
    if selection.rule:
        names = [{"term": {path: selection.rule}} for path in ("rule.uuid", "rule.id", "rule.name")]
        conditions.append({"bool": {"should": names, "minimum_should_match": 1}})
    if selection.since:
        conditions.append({"range": {"@timestamp": {"gte": selection.since}}})
    without = [] if selection.withdrawn else [{"term": {"siem.verdict": "withdrawn"}}]
    body = {
        "size": limit,
        "track_total_hits": True,
        "query": {"bool": {"filter": conditions, "must_not": without}},
        "sort": [{"event.severity": "desc"}, {"@timestamp": "desc"}],
    }
    answer = _search(client, body)
    found = [FoundAlert(hit["_index"], hit["_id"], hit["_source"]) for hit in answer["hits"]["hits"]]
    return found, int(answer["hits"]["total"]["value"])


def get_alert(client: OpenSearch, identifier: str) -> FoundAlert:
    """Return the alert with this id.

    Raises:
        NoSuchAlertError: there is none.
        ClusterError: the cluster cannot be asked.
    """
    hits = _search(client, {"size": 2, "query": {"ids": {"values": [identifier]}}})["hits"]["hits"]
    if not hits:
        raise NoSuchAlertError("there is no such alert", where=identifier, hint="siem alerts list shows the ids.")
    return FoundAlert(hits[0]["_index"], hits[0]["_id"], hits[0]["_source"])


def set_status(
    client: OpenSearch, identifier: str, status: Status, *, by: str, note: str | None, clock: Clock
) -> FoundAlert:
    """Set an alert's status, with who did it and why, and return the alert as it is then.

    Only the analyst's fields are written: what the machine recomputes stays as it is, and the other way round.

    Raises:
        NoSuchAlertError: there is no such alert.
        ClusterError: it could not be written.
    """
    alert = get_alert(client, identifier)
    change: dict[str, Any] = {"status": status, "status_by": by, "status_at": rfc3339(clock.now())}
    if note is not None:
        change["status_note"] = note[:_NOTE_CHARS]
    try:
        client.update(
            index=alert.index,
            id=alert.id,
            body={"doc": {"siem": change}},
            params={"retry_on_conflict": 5, "refresh": "true"},
        )
    except TransportError as error:
        raise ClusterError(
            f"the status could not be written: {error.error}", where=f"{alert.index}/{alert.id}"
        ) from None
    return get_alert(client, identifier)


def _search(client: OpenSearch, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = client.search(index=_PATTERN, body=body, params={"ignore_unavailable": "true"})
    except TransportError as error:
        raise ClusterError(f"alerts cannot be read: {error.error}", where=_PATTERN) from None
    return answer
