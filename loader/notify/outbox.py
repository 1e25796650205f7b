"""The outbox: one entry for each alert and channel, in ``siem-outbox-YYYY.MM`` beside the alert's own index.

Ids are derived, so that noting the same alert any number of times leaves one entry. Whoever wants to send an entry
claims it with compare-and-set, by moving the time at which it is due again: a sender that dies with a claim has lost
nothing but that time. States:

``waiting``    to be sent; not tried yet, or claimed for the first time
``failed``     tried in vain, and due again at ``next_at``
``sent``       the receiver has it
``given-up``   not delivered within the channel's ``give_up_after``; a person has to look
``settled``    there was nothing to say any more; ``reason`` says why
``continued``  it continues an alert whose entry stands, and is not told again
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.clock import rfc3339
from loader.detection.alert_store import CONFLICT
from loader.detection.alerts import ALERTS_PREFIX
from loader.detection.search import describe_error
from loader.errors import ClusterError, RuleError
from loader.index.identifiers import derived_id

PREFIX = "siem-outbox-"
PATTERN = f"{PREFIX}*"

State = Literal["waiting", "failed", "sent", "given-up", "settled", "continued"]
#: What a receiver was told of an alert.
Said = Literal["alert", "withdrawn"]
OPEN: tuple[State, ...] = ("waiting", "failed")

_TOGETHER = 500
_BUSY = (429, 502, 503, 504)
_LENIENT = {"ignore_unavailable": "true"}


class OutboxRefusedError(RuleError):
    """The cluster will never take this entry: its rule is reported, and the others go on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``version`` is ``(_seq_no, _primary_term)`` as read; ``None`` before it exists."""

    alert_index: str
    alert_id: str
    channel: str
    level: str
    severity: int
    rule_id: str
    rule_name: str
    noted: str
    #: Since when it is to be sent: its age is counted from here.
    since: str
    next_at: str
    state: State = "waiting"
    said: Said | None = None
    #: How often there was something new to say.
    round: int = 0
    attempts: int = 0
    #: The key it was last sent under, while nobody knows whether that arrived.
    message: str | None = None
    #: The key under which the receiver was first told.
    told: str | None = None
    sender: str | None = None
    sent_at: str | None = None
    error: str | None = None
    reason: str | None = None
    version: tuple[int, int] | None = None

    @property
    def index(self) -> str:
        """Return the index that holds it."""
        return index_of(self.alert_index)

    @property
    def id(self) -> str:
        """Return its derived id."""
        return entry_id(self.alert_id, self.channel)

    def document(self) -> dict[str, Any]:
        """Return the document, as ``mappings/index/siem-outbox.json`` has it."""
        found = {
            "@timestamp": self.noted,
            "channel": self.channel,
            "alert": {"index": self.alert_index, "id": self.alert_id},
            "level": self.level,
            "severity": self.severity,
            "rule": {"id": self.rule_id, "name": self.rule_name},
            "state": self.state,
            "said": self.said,
            "round": self.round,
            "since": self.since,
            "next_at": self.next_at,
            "attempts": self.attempts,
            "message": self.message,
            "told": self.told,
            "sender": self.sender,
            "sent_at": self.sent_at,
            "error": self.error,
            "reason": self.reason,
        }
        return {name: value for name, value in found.items() if value is not None}


def entry_id(alert_id: str, channel: str) -> str:
    """Return the id of the entry for an alert and a channel."""
    return derived_id(alert_id, channel)


def index_of(alert_index: str) -> str:
    """Return the outbox's index for alerts of ``alert_index``: both can be deleted together."""
    return PREFIX + alert_index.removeprefix(ALERTS_PREFIX)


class Outbox:
    """Reads and writes entries."""

    def __init__(self, client: OpenSearch) -> None:
        self._client = client

    def add(self, entries: Sequence[Entry]) -> list[bool]:
        """Note entries. Return for each whether it is new; one that exists is left as it is.

        Raises:
            OutboxRefusedError: the cluster refuses one for good.
            ClusterError: the cluster cannot be reached, or is busy.
        """
        actions = [({"create": {"_index": entry.index, "_id": entry.id}}, entry.document()) for entry in entries]
        return [status != CONFLICT for status, _ in self._write(actions)]

    def put(self, entries: Sequence[Entry]) -> list[Entry | None]:
        """Write entries that were read before, if nobody else has since. Return them as they are now, else ``None``.

        Raises:
            OutboxRefusedError: the cluster refuses one for good.
            ClusterError: the cluster cannot be reached, or is busy.
        """
        actions = []
        for entry in entries:
            number, term = entry.version or (0, 0)
            action = {"_index": entry.index, "_id": entry.id, "if_seq_no": number, "if_primary_term": term}
            actions.append(({"index": action}, entry.document()))
        written: list[Entry | None] = []
        for entry, (status, version) in zip(entries, self._write(actions), strict=True):
            written.append(None if status == CONFLICT else replace(entry, version=version))
        return written

    def read(self, wanted: Iterable[tuple[str, str]]) -> dict[str, Entry]:
        """Return those of the ``(index, id)`` entries that exist, by id, as they are now.

        Raises:
            ClusterError: the cluster cannot be asked.
        """
        found: dict[str, Entry] = {}
        asked = list(dict.fromkeys(wanted))
        for start in range(0, len(asked), _TOGETHER):
            docs = [{"_index": index, "_id": identifier} for index, identifier in asked[start : start + _TOGETHER]]
            try:
                answer = self._client.mget(body={"docs": docs})
            except NotFoundError:
                continue
            except TransportError as error:
                raise ClusterError(f"cannot read the outbox: {error.error}", where=PATTERN) from None
            for doc in answer["docs"]:
                if doc.get("found"):
                    found[doc["_id"]] = _entry(doc)
                elif (kind := doc.get("error", {}).get("type")) not in (None, "index_not_found_exception"):
                    raise ClusterError(f"cannot read the outbox: {kind}", where=doc["_index"])
        return found

    def due(self, channel: str, now: datetime, *, limit: int) -> tuple[list[Entry], int]:
        """Return what is to be sent now, most severe and oldest first, and how much there is in all.

        Raises:
            ClusterError: the cluster cannot be asked.
        """
        conditions: list[dict[str, Any]] = [
            {"term": {"channel": channel}},
            {"terms": {"state": list(OPEN)}},
            {"range": {"next_at": {"lte": rfc3339(now)}}},
        ]
        return self._search(conditions, limit, [{"severity": "desc"}, {"@timestamp": "asc"}])

    def overdue(self, channel: str, before: datetime, *, limit: int) -> list[Entry]:
        """Return what is to be sent since before ``before``, due or not.

        Raises:
            ClusterError: the cluster cannot be asked.
        """
        conditions: list[dict[str, Any]] = [
            {"term": {"channel": channel}},
            {"terms": {"state": list(OPEN)}},
            {"range": {"since": {"lt": rfc3339(before)}}},
        ]
        return self._search(conditions, limit, [{"@timestamp": "asc"}])[0]

    def listed(
        self, states: Sequence[str], *, channel: str | None = None, ids: Sequence[str] = (), limit: int = 50
    ) -> tuple[list[Entry], int]:
        """Return entries in any of ``states`` (empty: any), newest first, and how many there are in all.

        Raises:
            ClusterError: the cluster cannot be asked.
        """
        conditions: list[dict[str, Any]] = [{"terms": {"state": list(states)}}] if states else []
        if channel is not None:
            conditions.append({"term": {"channel": channel}})
        if ids:
            either = [{"ids": {"values": list(ids)}}, {"terms": {"alert.id": list(ids)}}]
            conditions.append({"bool": {"should": either, "minimum_should_match": 1}})
        return self._search(conditions, limit, [{"@timestamp": "desc"}])

    def _search(
        self, conditions: list[dict[str, Any]], limit: int, order: list[dict[str, Any]]
    ) -> tuple[list[Entry], int]:
        body = {
            "size": limit,
            "query": {"bool": {"filter": conditions}},
            "sort": order,
            "seq_no_primary_term": True,
            "track_total_hits": True,
        }
        try:
            self._client.indices.refresh(index=PATTERN, params=_LENIENT)
            # Half an answer would look like nothing to send.
            answer = self._client.search(
                index=PATTERN, body=body, params={**_LENIENT, "allow_partial_search_results": "false"}
            )
        except TransportError as error:
            raise ClusterError(f"cannot read the outbox: {error.error}", where=PATTERN) from None
        return [_entry(hit) for hit in answer["hits"]["hits"]], int(answer["hits"]["total"]["value"])

    def _write(
        self, actions: Sequence[tuple[dict[str, Any], dict[str, Any]]]
    ) -> Iterator[tuple[int, tuple[int, int] | None]]:
        for start in range(0, len(actions), _TOGETHER):
            batch = actions[start : start + _TOGETHER]
            body = b"".join(orjson.dumps(part) + b"\n" for pair in batch for part in pair).decode()
            try:
                items = self._client.bulk(body=body)["items"]
            except TransportError as error:
                raise ClusterError(f"cannot write the outbox: {error.error}", where=PATTERN) from None
            for item in items:
                (result,) = item.values()
                status = int(result["status"])
                if "error" in result and status != CONFLICT:
                    said = describe_error(result["error"])
                    if status in _BUSY:
                        raise ClusterError(f"cannot write the outbox: {said}", where=PATTERN)
                    raise OutboxRefusedError(f"cannot be noted for sending: {said}", where=result["_index"])
                version = None if status == CONFLICT else (int(result["_seq_no"]), int(result["_primary_term"]))
                yield status, version


def _entry(doc: dict[str, Any]) -> Entry:
    source = doc["_source"]
    return Entry(
        alert_index=source["alert"]["index"],
        alert_id=source["alert"]["id"],
        channel=source["channel"],
        level=source["level"],
        severity=int(source["severity"]),
        rule_id=source["rule"].get("id", ""),
        rule_name=source["rule"].get("name", ""),
        noted=source["@timestamp"],
        since=source["since"],
        next_at=source["next_at"],
        state=source["state"],
        said=source.get("said"),
        round=int(source["round"]),
        attempts=int(source["attempts"]),
        message=source.get("message"),
        told=source.get("told"),
        sender=source.get("sender"),
        sent_at=source.get("sent_at"),
        error=source.get("error"),
        reason=source.get("reason"),
        version=(doc["_seq_no"], doc["_primary_term"]),
    )
