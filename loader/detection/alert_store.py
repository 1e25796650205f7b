"""Writing alerts so that any number of attempts leaves the same alerts, and what an analyst wrote stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.clock import Clock
from loader.detection.alerts import Alert
from loader.detection.search import describe_error
from loader.errors import ClusterError

Written = Literal["new", "existing"]

_TOGETHER = 500
_ATTEMPTS = 6
_CONFLICT = 409
_BUSY = (429, 502, 503, 504)


class AlertRefusedError(ClusterError):
    """The cluster will never take this alert: a fault of ours, reported with its rule."""


class AlertStore:
    """Writes alerts to ``siem-alerts-YYYY.MM``."""

    def __init__(self, client: OpenSearch, *, clock: Clock) -> None:
        self._client = client
        self._clock = clock

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
            written += ["existing" if status == _CONFLICT else "new" for status in self.write(actions)]
        return written

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
                if "error" in result and result["status"] not in (_CONFLICT, *_BUSY):
                    raise AlertRefusedError(
                        describe_error(result["error"]), where=f"{result['_index']}/{result['_id']}"
                    )
                reason = describe_error(result.get("error", ""))
            waiting = [position for position in waiting if statuses[position] in _BUSY]
        if waiting:
            raise ClusterError(f"cannot write alerts: {reason}", where="_bulk")
        return statuses
