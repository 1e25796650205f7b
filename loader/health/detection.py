"""How detection does: who does it, how far behind it is, where it has gaps, and which rules fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.clock import Clock
from loader.detection.coverage import CoverageStore, Extent
from loader.detection.cursor import Shard, ShardStatisticsHiddenError, read_positions
from loader.detection.cycle_status import read_cycle
from loader.detection.lease import LEASES_INDEX
from loader.detection.schedule import LEASE
from loader.errors import ClusterError

#: Without a cycle for so long nobody detects.
STALLED_AFTER = timedelta(minutes=15)

_GAPS_SHOWN = 20


@dataclass(slots=True)
class DetectionHealth:
    """What is known. ``last_cycle`` is ``None`` where detection never ran."""

    last_cycle: str | None = None
    seconds_since: float | None = None
    complete: bool = True
    rules: int = 0
    holder: str | None = None
    #: Until when the lease is held; ``None`` when it was given back.
    held_until: str | None = None
    #: Documents that the rule which is furthest behind has not examined; ``None`` where the cluster hides its shards.
    behind: int | None = 0
    #: Stretches among them with examined ones after them: what a crash or an unreadable index left.
    gaps: list[dict[str, Any]] = field(default_factory=list)
    gap_documents: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    not_run: list[dict[str, Any]] = field(default_factory=list)
    expired_filters: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    #: What exceptions have taken out, by name: events, since, last.
    exceptions: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: What was not raised in the last cycle because too little of a baseline is known, by rule.
    learning: dict[str, int] = field(default_factory=dict)

    @property
    def stalled(self) -> bool:
        """Return whether detection ran once and does not any more."""
        return self.seconds_since is not None and self.seconds_since > STALLED_AFTER.total_seconds()

    @property
    def troubles(self) -> list[str]:
        """Return what a person has to see to, in words."""
        found = []
        if self.stalled:
            found.append(f"no cycle of detection since {self.last_cycle}")
        if self.errors:
            found.append(f"{len(self.errors)} rules fail")
        if self.gap_documents:
            found.append(f"{self.gap_documents} documents lie in gaps that were not examined")
        if self.unreadable:
            found.append(f"{len(self.unreadable)} shards cannot be read")
        if self.expired_filters:
            found.append(f"{len(self.expired_filters)} exceptions have expired")
        return found


def read_detection(client: OpenSearch, *, clock: Clock) -> DetectionHealth:
    """Ask the cluster how detection does.

    Raises:
        ClusterError: it cannot be asked.
    """
    found = DetectionHealth()
    _read_lease(client, found)
    cycle = read_cycle(client)
    if cycle is None:
        return found
    report = cycle.get("report", {})
    found.last_cycle = str(cycle["updated"])
    found.seconds_since = (clock.now() - _time(found.last_cycle)).total_seconds()
    found.complete = bool(cycle["complete"])
    found.rules = int(report.get("rules", 0))
    found.errors = report.get("errors", [])
    found.not_run = report.get("not_run", [])
    found.expired_filters = report.get("expired_filters", [])
    found.unreadable = report.get("unreadable", [])
    found.exceptions = report.get("exceptions", {})
    found.learning = report.get("learning", {})
    _read_coverage(client, found, report.get("patterns", []), frozenset(report.get("uuids", [])))
    return found


def _read_lease(client: OpenSearch, found: DetectionHealth) -> None:
    try:
        source = client.get(index=LEASES_INDEX, id=LEASE)["_source"]
    except NotFoundError:
        return
    except TransportError as error:
        raise ClusterError(f"cannot ask for the lease: {error.error}", where=LEASES_INDEX) from None
    found.holder = str(source["holder"])
    found.held_until = None if source["released"] else str(source["until"])


def _read_coverage(client: OpenSearch, found: DetectionHealth, patterns: list[str], uuids: frozenset[str]) -> None:
    if not patterns:
        return
    try:
        positions = read_positions(client, patterns)
    except ShardStatisticsHiddenError:
        found.behind = None
        return
    ledger = CoverageStore(client)
    # A changed rule is under a new key; it is the last of its own that counts.
    keys = frozenset({uuid: key for key, uuid in ledger.load_registry().rules.items() if uuid in uuids}.values())
    behind = 0
    for coverage in ledger.load(positions.shards).values():
        shard = coverage.shard
        extents = {extent for key, extent in coverage.rules.items() if key in keys}
        if not coverage.rules:
            extents = {Extent()}
        furthest = 0
        for extent in extents:
            missing = extent.missing(shard)
            furthest = max(furthest, sum(last - first + 1 for first, last in missing))
        behind += furthest
        _note_gaps(found, shard, extents)
    found.behind = behind
    found.gaps = found.gaps[:_GAPS_SHOWN]


def _note_gaps(found: DetectionHealth, shard: Shard, extents: set[Extent]) -> None:
    gaps: set[tuple[int, int]] = set()
    for extent in extents:
        reached = max((last for _, last in extent.examined), default=-1)
        gaps |= {(first, last) for first, last in extent.missing(shard) if last < reached}
    for first, last in sorted(gaps):
        found.gap_documents += last - first + 1
        found.gaps.append({"where": shard.where, "from": first, "to": last})


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
