"""Asking every minute how things are, for metrics and the health endpoint."""

from __future__ import annotations

from opensearchpy import OpenSearch

from loader.background import Background
from loader.clock import Clock
from loader.errors import ClusterError
from loader.health.detection import read_detection
from loader.health.metrics import DetectionMetrics
from loader.health.outbox import read_outbox

_INTERVAL_S = 60.0
_LAST_S = 5.0


class HealthWatch(Background):
    """Keeps the gauges of ``metrics`` up to date while its ``with`` block runs."""

    def __init__(self, client: OpenSearch, metrics: DetectionMetrics, *, clock: Clock) -> None:
        super().__init__("health", interval=_INTERVAL_S, patience=_LAST_S)
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._trouble: str | None = None

    def once(self) -> None:
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
