"""Asking every minute how things are, for metrics and the health endpoint."""

from __future__ import annotations

import logging
from threading import Event, Thread
from types import TracebackType

from opensearchpy import OpenSearch

from loader.clock import Clock
from loader.errors import ClusterError
from loader.health.detection import read_detection
from loader.health.metrics import DetectionMetrics
from loader.health.outbox import read_outbox

log = logging.getLogger(__name__)

_INTERVAL_S = 60.0


class HealthWatch:
    """Keeps the gauges of ``metrics`` up to date while its ``with`` block runs."""

    def __init__(self, client: OpenSearch, metrics: DetectionMetrics, *, clock: Clock) -> None:
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._trouble: str | None = None
        self._stop = Event()
        self._thread = Thread(target=self._run, name="health", daemon=True)

    def look(self) -> None:
        """Ask once. A cluster that does not answer is a trouble, too."""
        try:
            detection = read_detection(self._client, clock=self._clock)
            outbox = read_outbox(self._client, clock=self._clock)
        except ClusterError as error:
            self._trouble = str(error)
            return
        self._metrics.health(detection, outbox)
        self._trouble = f"no cycle of detection since {detection.last_cycle}" if detection.stalled else None

    def trouble(self) -> str | None:
        """Return why this detector is not healthy; rules and channels that fail are metrics, not ill health."""
        return self._trouble

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except Exception:  # the next look may be better
                log.exception("health could not be read")
            self._stop.wait(_INTERVAL_S)

    def __enter__(self) -> HealthWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5)
