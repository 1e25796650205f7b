"""Prometheus metrics of detection and of telling people: gauges of what `siem status` shows."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from loader.detection.report import RunReport
from loader.health.detection import DetectionHealth
from loader.health.outbox import OutboxHealth


class DetectionMetrics:
    """The metrics of one detector, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._cycles = Counter("siem_detection_cycles", "Cycles that this process ran", registry=registry)
        self._alerts = Counter("siem_alerts", "Alerts that this process raised", ["level"], registry=registry)
        self._folded = Counter("siem_folded", "Triggers folded into alerts raised before", registry=registry)
        self._excepted = Counter("siem_excepted", "Events that exceptions took out", ["filter"], registry=registry)
        self._gauges = {
            name: Gauge(f"siem_{name}", text, registry=registry)
            for name, text in {
                "detection_cycle_seconds": "Seconds the last cycle took",
                "detection_cycle_age_seconds": "Seconds since the last cycle, whoever ran it",
                "detection_behind_documents": "Documents that the rule furthest behind has not examined",
                "detection_gap_documents": "Documents in gaps that were passed over",
                "detection_rules_failing": "Rules that failed in the last cycle",
                "detection_rules_waiting": "Rules that lack a list or a database",
                "detection_rules_learning": "Rules that passed something over: too little of a baseline is known",
                "detection_filters_expired": "Exceptions that have expired",
                "outbox_oldest_seconds": "Age of the oldest notification that waits",
            }.items()
        }
        self._outbox = Gauge("siem_outbox", "Notifications", ["channel", "state"], registry=registry)
        self._failing = Gauge("siem_channel_failing", "1 while a channel does not work", ["channel"], registry=registry)

    def cycle(self, report: RunReport) -> None:
        """Count a cycle."""
        self._cycles.inc()
        self._gauges["detection_cycle_seconds"].set(report.seconds)
        self._folded.inc(report.folded)
        for by_filter in report.filtered_by.values():
            for name, events in by_filter.items():
                self._excepted.labels(name).inc(events)
        for count in report.rules:
            if count.alerts_new:
                self._alerts.labels(count.level).inc(count.alerts_new)

    def health(self, detection: DetectionHealth, outbox: OutboxHealth) -> None:
        """Show how things are."""
        for name, value in {
            "detection_cycle_age_seconds": detection.seconds_since,
            "detection_behind_documents": detection.behind,
            "detection_gap_documents": detection.gap_documents,
            "detection_rules_failing": len(detection.errors),
            "detection_rules_waiting": len(detection.not_run),
            "detection_rules_learning": len(detection.learning),
            "detection_filters_expired": len(detection.expired_filters),
            "outbox_oldest_seconds": outbox.oldest_seconds or 0,
        }.items():
            if value is not None:
                self._gauges[name].set(value)
        for name, channel in outbox.channels.items():
            for state in ("waiting", "failed", "given_up"):
                self._outbox.labels(name, state).set(getattr(channel, state))
            self._failing.labels(name).set(1 if channel.failing_since else 0)
