"""Writing alerts so that any number of attempts leaves the same alerts, and what an analyst wrote stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Literal

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.clock import Clock
from loader.detection.alerts import ALERTS_PREFIX, Alert, Announce
from loader.detection.correlation import Group
from loader.detection.search import describe_error
from loader.errors import ClusterError, RuleError
from loader.index.patience import find_documents, patiently

Written = Literal["new", "existing"]

_TOGETHER = 500
_ATTEMPTS = 6
#: The status of a write that somebody else was faster than.
CONFLICT = 409
_BUSY = (429, 502, 503, 504)


class AlertRefusedError(RuleError):
    """The cluster will never take this alert. Its rule is reported, and the others go on."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An alert as it is in the cluster. ``version`` is ``(_seq_no, _primary_term)``."""

    body: dict[str, Any]
    version: tuple[int, int]


class AlertStore:
    """Writes alerts to ``siem-alerts-YYYY.MM``, and passes them on to who has to be told of them."""

    def __init__(self, client: OpenSearch, *, clock: Clock, announce: Announce | None = None) -> None:
        self._client = client
        self._clock = clock
        self._announce = announce
        self._lock = Lock()

    def announce(self, alerts: Sequence[Alert]) -> None:
        """Pass on alerts that are written.

        Raises:
            SiemError: they cannot be noted. Their events must not count as examined, so that they come again.
        """
        if self._announce is not None and alerts:
            # Several correlations are worked out at a time; who is told of them need not know.
            with self._lock:
                self._announce(alerts)

    def create(self, alerts: Sequence[Alert]) -> list[Written]:
        """Write alerts that are never revised. One that exists is left as it is.

        Raises:
            AlertRefusedError: the cluster refused one for a reason that trying again does not cure.
            ClusterError: the cluster stayed busy or cannot be reached.
        """
        written: list[Written] = []
        for start in range(0, len(alerts), _TOGETHER):
            batch = alerts[start : start + _TOGETHER]
            actions = [({"create": {"_index": alert.index, "_id": alert.id}}, alert.body) for alert in batch]
            written += ["existing" if status == CONFLICT else "new" for status in self.write(actions)]
        return written

    def read(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Stored]:
        """Return those of the ``(index, id)`` alerts that exist, as they are now (not as of the last refresh).

        Raises:
            ClusterError: the cluster cannot be asked.
        """
        found: dict[tuple[str, str], Stored] = {}
        for start in range(0, len(wanted), _TOGETHER):
            docs = [{"_index": index, "_id": identifier} for index, identifier in wanted[start : start + _TOGETHER]]
            for doc in find_documents(self._client, {"docs": docs}, what="alerts", clock=self._clock):
                version = (doc["_seq_no"], doc["_primary_term"])
                found[(doc["_index"], doc["_id"])] = Stored(doc["_source"], version)
        return found

    def groups(self, rule_uuid: str, start: int, end: int) -> list[Group]:
        """Return the groups for which a rule has alerts about [start, end] milliseconds.

        Raises:
            ClusterError: the cluster cannot be asked.
        """
        body = {
            "size": _TOGETHER,
            "query": {
                "bool": {
                    "filter": [
                        {"term": {"rule.uuid": rule_uuid}},
                        {"range": {"@timestamp": {"gte": start, "lte": end, "format": "epoch_millis"}}},
                    ]
                }
            },
            "_source": ["siem.group"],
            "sort": [{"@timestamp": "asc"}, {"_seq_no": "asc"}],
        }
        params = {"ignore_unavailable": "true", "allow_partial_search_results": "false"}
        found: dict[Group, None] = {}
        try:
            self._client.indices.refresh(index=f"{ALERTS_PREFIX}*", params={"ignore_unavailable": "true"})
            while True:
                ask = partial(self._client.search, index=f"{ALERTS_PREFIX}*", body=body, params=params)
                hits = patiently(ask, clock=self._clock)["hits"]["hits"]
                for hit in hits:
                    group = hit["_source"].get("siem", {}).get("group", {})
                    found[tuple(sorted(group.items()))] = None
                if len(hits) < _TOGETHER:
                    return list(found)
                time, number = hits[-1]["sort"]
                body = {**body, "search_after": [time, number - 1]}
        except TransportError as error:
            raise ClusterError(f"cannot read alerts: {error.error}", where=ALERTS_PREFIX) from None

    def write(self, actions: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[int]:
        """Send bulk actions until each is written (200, 201) or conflicts (409); return the statuses.

        Raises:
            AlertRefusedError: one can never be written.
            ClusterError: the cluster stayed busy or cannot be reached.
        """
        statuses = [0] * len(actions)
        waiting = list(range(len(actions)))
        reason = ""
        for attempt in range(_ATTEMPTS):
            if not waiting:
                return statuses
            if attempt:
                self._clock.sleep(0.25 * 2.0**attempt)
            body = b"".join(orjson.dumps(part) + b"\n" for position in waiting for part in actions[position]).decode()
            try:
                items = self._client.bulk(body=body)["items"]
            except TransportError as error:
                if error.status_code not in _BUSY:
                    raise ClusterError(f"cannot write alerts: {error.error}", where="_bulk") from None
                reason = str(error.error)
                continue
            for position, item in zip(waiting, items, strict=True):
                (result,) = item.values()
                statuses[position] = result["status"]
                if "error" in result and result["status"] not in (CONFLICT, *_BUSY):
                    raise AlertRefusedError(
                        describe_error(result["error"]), where=f"{result['_index']}/{result['_id']}"
                    )
                reason = describe_error(result.get("error", ""))
            waiting = [position for position in waiting if statuses[position] in _BUSY]
        if waiting:
            raise ClusterError(f"cannot write alerts: {reason}", where="_bulk")
        return statuses
