"""The part of ``siem status`` about detection and telling people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from opensearchpy import OpenSearch
from rich.console import Console

from loader.cli.output import shown_path, table
from loader.clock import SystemClock
from loader.health.detection import DetectionHealth, read_detection
from loader.health.outbox import OutboxHealth, read_outbox

_SHOWN = 20


def read_watch(client: OpenSearch) -> tuple[DetectionHealth, OutboxHealth]:
    """Ask the cluster how detection and telling people do.

    Raises:
        ClusterError: it cannot be asked.
    """
    clock = SystemClock()
    return read_detection(client, clock=clock), read_outbox(client, clock=clock)


def watch_as_dict(detection: DetectionHealth, outbox: OutboxHealth) -> dict[str, Any]:
    """Return plain values, for ``--json``."""
    return {
        "detection": asdict(detection) | {"stalled": detection.stalled},
        "notifications": outbox.as_dict(),
        "troubles": [*detection.troubles, *outbox.troubles],
    }


def print_watch(screen: Console, detection: DetectionHealth, outbox: OutboxHealth) -> None:
    """Print tables; those that would be empty are left out."""
    screen.print()
    if detection.last_cycle is None:
        screen.print("Detection has not run yet. Next: siem detect run")
    else:
        _print_detection(screen, detection)
    if outbox.channels:
        rows = [
            (name, one.waiting, one.failed, one.given_up, one.sent, one.failing_since or "", one.error or "")
            for name, one in sorted(outbox.channels.items())
        ]
        columns = ["channel", "waiting", "failed", "given up", "sent (24 h)", "failing since", "why"]
        screen.print()
        screen.print(table("Notifications", columns, rows, right=[1, 2, 3, 4]))
        if outbox.oldest:
            screen.print(f"the oldest waits since {outbox.oldest}", markup=False)
    troubles = [*detection.troubles, *outbox.troubles]
    if troubles:
        screen.print("\nThis needs somebody:", style="bold red")
        for trouble in troubles:
            screen.print(f"  {trouble}", markup=False)


def _print_detection(screen: Console, detection: DetectionHealth) -> None:
    lag = f"{detection.seconds_since:.0f} seconds ago" if detection.seconds_since is not None else ""
    behind = "not known: the cluster hides its shards" if detection.behind is None else detection.behind
    rows: list[tuple[str, object]] = [
        ("last cycle", f"{detection.last_cycle} ({lag})" + ("" if detection.complete else ", not complete")),
        ("documents behind", behind),
        ("documents in gaps", detection.gap_documents),
        ("rules run", detection.rules),
        ("rules failing", len(detection.errors)),
        ("rules waiting for data", len(detection.not_run)),
        ("rules that learn", len(detection.learning)),
        ("lease", detection.holder if detection.held_until else "nobody holds it"),
    ]
    screen.print(table("Detection", ["", ""], rows))
    if detection.errors:
        failing = [
            (entry["rule"], shown_path(entry["where"]), entry["since"], entry["message"])
            for entry in detection.errors[:_SHOWN]
        ]
        screen.print()
        screen.print(table("Rules that fail", ["rule", "file", "since", "why"], failing))
    if detection.exceptions:
        taken = [
            (name, entry["events"], entry["since"], entry["last"])
            for name, entry in sorted(detection.exceptions.items(), key=lambda item: -item[1]["events"])[:_SHOWN]
        ]
        screen.print()
        screen.print(table("Exceptions", ["filter", "events taken out", "since", "last"], taken, right=[1]))
    if detection.gaps:
        gaps = [(gap["where"], gap["from"], gap["to"]) for gap in detection.gaps]
        screen.print()
        screen.print(table("Gaps (sequence numbers)", ["index", "from", "to"], gaps, right=[1, 2]))
    if detection.expired_filters:
        filters = [
            (entry["filter"], shown_path(entry["where"]), entry["owner"], entry["expired"])
            for entry in detection.expired_filters
        ]
        screen.print()
        screen.print(table("Expired exceptions", ["filter", "file", "owner", "expired"], filters))
