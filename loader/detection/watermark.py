"""How far rules that must wait have judged: event times up to which lateness has been waited out.

A rule that is not monotone (an upper bound, an average, an absence) judges a moment only once ``lateness`` has passed
since. The wall clock decides, never the newest event: when a source falls silent no event comes to move it on. And it
is the time at which the cycle *began*, before it looked which events there are: what arrives while a cycle works is not
sure to be seen by it, so it must not be waited out by it either.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConflictError, NotFoundError, TransportError

from loader.clock import Clock
from loader.errors import ClusterError
from loader.index.patience import patiently

CURSORS_INDEX = "siem-cursors"


class Watermark:
    """Reads and saves, for each rule's key, the event time (milliseconds) up to which it has judged.

    ``began`` is when the cycle began: before it read the positions of the shards, and before it refreshed them.
    """

    def __init__(
        self, client: OpenSearch, *, began: datetime, lateness: timedelta, clock: Clock, index: str = CURSORS_INDEX
    ) -> None:
        self._client = client
        self._clock = clock
        self._until = int((began - lateness).timestamp() * 1000)
        self._index = index
        self._read: dict[str, tuple[int, tuple[int, int] | None]] = {}

    def read(self, key: str) -> tuple[int | None, int]:
        """Return up to when rule ``key`` has judged (``None``: never), and up to when it may judge now.

        Raises:
            ClusterError: the cluster cannot be asked.
        """
        until = self._until
        try:
            doc: dict[str, Any] = patiently(partial(self._client.get, index=self._index, id=key), clock=self._clock)
        except NotFoundError:
            self._read[key] = (until, None)
            return None, until
        except TransportError as error:
            raise ClusterError(f"cannot read a watermark: {error.error}", where=self._index) from None
        since = int(doc["_source"]["judged_ms"])
        # Another scheduler's clock may be ahead: a watermark never goes back.
        self._read[key] = (max(since, until), (doc["_seq_no"], doc["_primary_term"]))
        return since, max(since, until)

    def done(self, key: str) -> bool:
        """Save that rule ``key`` has judged up to what :meth:`read` allowed. Return whether that is so.

        It is not if somebody else has judged since: they may have seen more, and judged later moments. What was judged
        meanwhile has to be judged again.

        Raises:
            ClusterError: it cannot be saved; the same moments are judged again, to the same end.
        """
        until, version = self._read.pop(key)
        params: dict[str, Any] = {"op_type": "create"}
        if version:
            params = {"if_seq_no": version[0], "if_primary_term": version[1]}
        try:
            self._client.index(index=self._index, id=key, body={"judged_ms": until, "rule": key}, params=params)
        except ConflictError:
            return False
        except TransportError as error:
            raise ClusterError(f"cannot save a watermark: {error.error}", where=self._index) from None
        return True
