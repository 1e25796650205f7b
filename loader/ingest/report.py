"""The accounts of loading: one equation an object, and their sums."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from loader.errors import SiemError
from loader.source.objects import ObjectRef


class AccountingError(SiemError):
    """read ≠ indexed + duplicates + dead-lettered + dropped: a defect of this program, never passed over."""


@dataclass(slots=True)
class Counts:
    """The equation. ``read`` counts records and stretches that should have been records."""

    read: int = 0
    indexed: int = 0
    duplicates: int = 0
    dead_lettered: int = 0
    dropped: int = 0

    @property
    def balanced(self) -> bool:
        """Tell whether read = indexed + duplicates + dead-lettered + dropped."""
        return self.read == self.indexed + self.duplicates + self.dead_lettered + self.dropped

    def add(self, other: Counts) -> None:
        """Add ``other``'s figures to these."""
        self.read += other.read
        self.indexed += other.indexed
        self.duplicates += other.duplicates
        self.dead_lettered += other.dead_lettered
        self.dropped += other.dropped


@dataclass(slots=True)
class ObjectReport:
    """What became of one object. ``outcome`` is ``loaded``, ``parked`` (``reason`` says why) or ``skipped``."""

    ref: ObjectRef
    outcome: str = "loaded"
    reason: str | None = None
    log_type: str | None = None
    counts: Counts = field(default_factory=Counts)
    #: Dead letters by reason.
    reasons: Counter[str] = field(default_factory=Counter)
    #: Events dropped, by the filter's name.
    dropped_by: Counter[str] = field(default_factory=Counter)
    #: What the cluster refused for good, by error type: too much of it stops the object before anything is parked.
    refused: Counter[str] = field(default_factory=Counter)
    first_event: str | None = None
    last_event: str | None = None
    #: Seconds from the newest event, and from the object's delivery, to the load; ``None`` where unknown.
    lag_from_event: float | None = None
    lag_from_delivery: float | None = None
    seconds: float = 0.0

    def see(self, timestamp: str) -> None:
        """Take an event's ``@timestamp`` into the range seen."""
        if self.first_event is None or timestamp < self.first_event:
            self.first_event = timestamp
        if self.last_event is None or timestamp > self.last_event:
            self.last_event = timestamp

    def drop(self, by: str) -> None:
        """Count an event that the filter ``by`` has dropped."""
        self.counts.read += 1
        self.counts.dropped += 1
        self.dropped_by[by] += 1

    def check(self) -> None:
        """Hold the equation.

        Raises:
            AccountingError: it does not hold.
        """
        if not self.counts.balanced:
            raise AccountingError(f"the equation does not hold: {self.counts}", where=self.ref.uri)


def entry_of(report: ObjectReport, now: str, delivered: str | None) -> dict[str, object]:
    """Return the ledger's entry, as ``mappings/index/siem-objects.json`` has it."""
    ref, counts = report.ref, report.counts
    entry: dict[str, object] = {
        "@timestamp": now,
        "bucket": ref.bucket,
        "key": ref.key,
        "version_id": ref.version_id,
        "etag": ref.etag,
        "size": ref.size,
        "log_type": report.log_type,
        "outcome": report.outcome,
        "reason": report.reason,
        "read": counts.read,
        "indexed": counts.indexed,
        "duplicates": counts.duplicates,
        "dead_lettered": counts.dead_lettered,
        "dropped": counts.dropped,
        "dropped_by": dict(report.dropped_by) or None,
        "balanced": counts.balanced,
        "first_event": report.first_event,
        "last_event": report.last_event,
        "delivered": delivered,
        "lag_from_event_s": report.lag_from_event,
        "lag_from_delivery_s": report.lag_from_delivery,
        "seconds": round(report.seconds, 3),
    }
    return {name: value for name, value in entry.items() if value is not None}


@dataclass(slots=True)
class Totals:
    """Sums over a run."""

    objects: int = 0
    parked: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    returned: int = 0
    counts: Counts = field(default_factory=Counts)
    reasons: Counter[str] = field(default_factory=Counter)
    dropped_by: Counter[str] = field(default_factory=Counter)

    def add(self, report: ObjectReport) -> None:
        """Add one object's report."""
        self.objects += 1
        if report.outcome == "parked":
            self.parked[report.reason or "unknown"] += 1
        elif report.outcome == "skipped":
            self.skipped[report.reason or "unknown"] += 1
        self.counts.add(report.counts)
        self.reasons.update(report.reasons)
        self.dropped_by.update(report.dropped_by)

    def as_dict(self) -> dict[str, object]:
        """Return the accounts as plain values, for JSON."""
        return {
            "objects": self.objects,
            "messages": self.messages,
            "returned": self.returned,
            "records": self.counts.read,
            "indexed": self.counts.indexed,
            "duplicates": self.counts.duplicates,
            "dead_lettered": self.counts.dead_lettered,
            "dropped": self.counts.dropped,
            "balanced": self.counts.balanced,
            "parked": dict(self.parked),
            "skipped": dict(self.skipped),
            "reasons": dict(self.reasons),
            "dropped_by": dict(self.dropped_by),
        }
