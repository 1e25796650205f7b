"""Prometheus metrics of loading."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from loader.ingest.report import ObjectReport

_LAG_BUCKETS = (60, 300, 600, 900, 1800, 3600, 7200, 21600, 86400)
_SECONDS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The metrics of one process, in a registry of their own. Safe between threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._objects = Counter("siem_objects", "Objects dealt with", ["outcome", "reason"], registry=self.registry)
        self._records = Counter("siem_records", "Records by what became of them", ["outcome"], registry=self.registry)
        self._read = Counter(
            "siem_records_read", "Records read; equals the sum of siem_records", registry=self.registry
        )
        self._dead = Counter("siem_dead_letters", "Dead letters", ["reason"], registry=self.registry)
        self._dropped = Counter("siem_dropped", "Events dropped by named filters", ["filter"], registry=self.registry)
        self._messages = Counter("siem_messages", "Queue messages", ["outcome"], registry=self.registry)
        self._skipped = Counter(
            "siem_notifications_skipped", "Events that name nothing to load", ["rule"], registry=self.registry
        )
        self._seconds = Histogram(
            "siem_object_seconds", "Seconds an object took", registry=self.registry, buckets=_SECONDS_BUCKETS
        )
        self._lag = Histogram(
            "siem_event_lag_seconds",
            "Age of an object's newest event when loaded",
            registry=self.registry,
            buckets=_LAG_BUCKETS,
        )
        self._delivery_lag = Histogram(
            "siem_delivery_lag_seconds",
            "Age of an object when loaded, since its delivery",
            registry=self.registry,
            buckets=_LAG_BUCKETS,
        )
        self.in_work = Gauge("siem_messages_in_work", "Messages being worked on", registry=self.registry)

    def object(self, report: ObjectReport) -> None:
        """Count one object."""
        counts = report.counts
        self._objects.labels(report.outcome, report.reason or "").inc()
        self._read.inc(counts.read)
        for outcome, number in (
            ("indexed", counts.indexed),
            ("duplicate", counts.duplicates),
            ("dead_lettered", counts.dead_lettered),
            ("dropped", counts.dropped),
        ):
            self._records.labels(outcome).inc(number)
        for reason, number in report.reasons.items():
            self._dead.labels(reason).inc(number)
        for name, number in report.dropped_by.items():
            self._dropped.labels(name).inc(number)
        self._seconds.observe(report.seconds)
        if report.lag_from_event is not None:
            self._lag.observe(max(report.lag_from_event, 0.0))
        if report.lag_from_delivery is not None:
            self._delivery_lag.observe(max(report.lag_from_delivery, 0.0))

    def parked_message(self, reason: str) -> None:
        """Count a message that became a dead letter."""
        self._dead.labels(reason).inc()

    def message(self, outcome: str, skipped: Iterable[tuple[str, int]] = ()) -> None:
        """Count one message: ``acknowledged``, ``returned`` or ``parked``."""
        self._messages.labels(outcome).inc()
        for rule, number in skipped:
            self._skipped.labels(rule).inc(number)
