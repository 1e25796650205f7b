"""A limit on new indices: forged or broken event times must not create thousands of them."""

from __future__ import annotations

import threading
from collections import deque

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.clock import Clock
from loader.errors import ClusterError

_HOUR_S = 3600.0


class TooManyIndicesError(ClusterError):
    """Writing would create more new indices within an hour than is allowed: the message waits."""


class IndexGate:
    """Admits writes to indices that exist, and to at most ``per_hour`` new ones an hour. Safe between threads."""

    def __init__(self, client: OpenSearch, *, clock: Clock, per_hour: int = 100) -> None:
        self._client = client
        self._clock = clock
        self._per_hour = per_hour
        self._known: set[str] = set()
        self._created: deque[float] = deque()
        self._lock = threading.Lock()

    def admit(self, index: str) -> None:
        """Return if documents may be written to ``index``.

        Raises:
            TooManyIndicesError: ``index`` would be one too many.
            ClusterError: the cluster cannot be asked whether it exists.
        """
        with self._lock:
            if index in self._known:
                return
            try:
                exists = bool(self._client.indices.exists(index=index))
            except TransportError as error:
                raise ClusterError(f"cannot ask whether the index exists: {error.error}", where=index) from None
            if not exists:
                self._count_new(index)
            self._known.add(index)

    def forget(self, index: str) -> None:
        """Ask the cluster again about ``index`` before the next write."""
        with self._lock:
            self._known.discard(index)

    def _count_new(self, index: str) -> None:
        now = self._clock.monotonic()
        while self._created and now - self._created[0] > _HOUR_S:
            self._created.popleft()
        if len(self._created) >= self._per_hour:
            raise TooManyIndicesError(
                f"{len(self._created)} new indices were created within an hour",
                where=index,
                hint="For a backfill of many days raise SIEM_NEW_INDICES_PER_HOUR.",
            )
        self._created.append(now)
