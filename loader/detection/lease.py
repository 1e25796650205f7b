"""A lease with compare-and-set: of several schedulers one works, and when it dies another goes on.

The lease saves work; it is not what keeps alerts right. A scheduler that was paused past its lease's end and goes on
writing does no harm: alert ids are derived, and folded alerts and the ledger are written with compare-and-set.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConflictError, NotFoundError, TransportError

from loader.clock import Clock, rfc3339
from loader.errors import ClusterError

LEASES_INDEX = "siem-leases"


class Lease:
    """The right to do one job until a time.

    ``skew`` is how much the clocks of two holders may differ: a lease is taken over only so long after its end.
    """

    def __init__(
        self,
        client: OpenSearch,
        *,
        name: str,
        holder: str,
        clock: Clock,
        duration: timedelta = timedelta(minutes=5),
        skew: timedelta = timedelta(minutes=1),
    ) -> None:
        self._client = client
        self._name = name
        self._holder = holder
        self._clock = clock
        self._duration = duration
        self._skew = skew
        self._version: tuple[int, int] | None = None
        #: Who holds it, as of the last try.
        self.held_by: str | None = None

    def acquire(self) -> bool:
        """Take the lease, or lengthen it if it is ours. Return whether it is ours now.

        Raises:
            ClusterError: the cluster cannot be asked.
        """
        now = self._clock.now()
        try:
            current = self._current()
            if current is not None:
                body, version = current
                self.held_by = str(body["holder"])
                ends = datetime.fromisoformat(str(body["until"]).replace("Z", "+00:00"))
                if body["holder"] != self._holder and not body["released"] and now < ends + self._skew:
                    return False
                params: dict[str, Any] = {"if_seq_no": version[0], "if_primary_term": version[1]}
                since = body["since"] if body["holder"] == self._holder and not body["released"] else rfc3339(now)
            else:
                params, since = {"op_type": "create"}, rfc3339(now)
            return self._write(params, since=since, until=now + self._duration, released=False)
        except TransportError as error:
            raise ClusterError(f"cannot ask for the lease: {error.error}", where=LEASES_INDEX) from None

    def release(self) -> None:
        """Give the lease back, if it is still ours: the next scheduler need not wait for its end.

        Raises:
            ClusterError: the cluster cannot be asked.
        """
        if self._version is None:
            return
        params = {"if_seq_no": self._version[0], "if_primary_term": self._version[1]}
        now = self._clock.now()
        try:
            self._write(params, since=rfc3339(now), until=now, released=True)
        except TransportError as error:
            raise ClusterError(f"cannot give the lease back: {error.error}", where=LEASES_INDEX) from None
        self._version = None

    def _current(self) -> tuple[dict[str, Any], tuple[int, int]] | None:
        try:
            doc = self._client.get(index=LEASES_INDEX, id=self._name)
        except NotFoundError:
            return None
        return doc["_source"], (doc["_seq_no"], doc["_primary_term"])

    def _write(self, params: dict[str, Any], *, since: str, until: datetime, released: bool) -> bool:
        body = {"holder": self._holder, "since": since, "until": rfc3339(until), "released": released}
        try:
            answer = self._client.index(index=LEASES_INDEX, id=self._name, body=body, params=params)
        except ConflictError:
            self._version = None
            return False
        self._version = (answer["_seq_no"], answer["_primary_term"])
        self.held_by = self._holder
        return True
