"""``siem status``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console

from loader.cli.output import console, print_json, table
from loader.cli.settings import settings_for_cluster
from loader.cli.status_watch import print_watch, read_watch, watch_as_dict
from loader.config import read_settings
from loader.errors import ClusterError, ConfigError
from loader.health.detection import DetectionHealth
from loader.health.outbox import OutboxHealth
from loader.index.client import make_client
from loader.index.ledger import ParkedObjects, parked_objects, summary
from loader.index.parked import count_letters
from loader.local.stack import LocalStack, StackStatus
from loader.source.objects import ObjectRef


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Show whether the local stack runs, what the cluster holds, and what waits for a person.

    Exit code 0: a cluster answers and nothing needs a person. 3: no cluster. 4: an object's account does not balance.
    5: detection or telling people needs somebody (rules that fail, no cycle for a quarter of an hour, gaps, expired
    exceptions, channels that fail, notifications that were given up).
    """
    status = LocalStack(settings=read_settings()).status()
    local = _local(status)
    holdings = _holdings()
    if as_json:
        print_json({"local_stack": local, "cluster": holdings.as_dict() if holdings else None})
    else:
        _print(console(), local, status, holdings)
    if holdings is None:
        raise click.exceptions.Exit(3)
    if holdings.ledger["unbalanced"]:
        raise click.exceptions.Exit(4)
    if holdings.detection.troubles or holdings.outbox.troubles:
        raise click.exceptions.Exit(5)


@dataclass(frozen=True, slots=True)
class _Holdings:
    ledger: dict[str, Any]
    letters: dict[str, int]
    parked: dict[str, ParkedObjects]
    detection: DetectionHealth
    outbox: OutboxHealth

    def as_dict(self) -> dict[str, Any]:
        return {
            "ledger": self.ledger,
            "dead_letters": self.letters,
            "parked": [entry for waiting in self.parked.values() for entry in waiting.newest],
            "parked_by_reason": {reason: waiting.count for reason, waiting in self.parked.items()},
            **watch_as_dict(self.detection, self.outbox),
        }


def _holdings() -> _Holdings | None:
    try:
        client = make_client(settings_for_cluster(quiet=True))
    except ConfigError:
        return None
    try:
        return _Holdings(summary(client), count_letters(client), parked_objects(client), *read_watch(client))
    except ClusterError as error:
        raise ClusterError(
            error.message, where=error.where, hint="Does SIEM_CLUSTER_URL name a running cluster?"
        ) from None


def _local(status: StackStatus) -> dict[str, object]:
    return {
        "running": status.running,
        "opensearch": status.node.url,
        "opensearch_version": status.version,
        "opensearch_pid": status.node.pid,
        "heap": status.heap,
        "java": status.java,
        "aws": status.aws.url,
        "aws_pid": status.aws.pid,
        "started_at": status.started_at,
        "data": str(status.data_dir),
        "disk_used_mib": round(status.disk_used / 2**20, 1),
        "logs": [str(log) for log in status.log_files],
        "notes": list(status.notes),
    }


def _print(screen: Console, local: dict[str, object], status: StackStatus, holdings: _Holdings | None) -> None:
    rows = [
        (name.replace("_", " "), ", ".join(value) if isinstance(value, list) else value)
        for name, value in local.items()
        if value is not None and name != "notes"
    ]
    if holdings is None or status.running:  # who has a cluster elsewhere is not told that none runs here
        screen.print(table("Local stack", ["", ""], rows))
        screen.print()
    if holdings is None:
        screen.print("No cluster is configured or running. Next: siem up")
        return
    ledger = holdings.ledger
    figures = [(name.replace("_", " "), value) for name, value in ledger.items() if name != "outcomes"]
    screen.print(table("Loaded, by the ledger of objects", ["", ""], figures, right=[1]))
    if ledger["unbalanced"]:
        screen.print("\nAn account does not balance: that is a defect, please report it.", style="bold red")
    letters = sorted(holdings.letters.items())
    if letters:
        screen.print()
        screen.print(table("Dead letters waiting", ["reason", "count"], letters, right=[1]))
    if holdings.parked:
        parked = [
            ("" if number else reason, "" if number else waiting.count, ObjectRef(entry["bucket"], entry["key"]).uri)
            for reason, waiting in holdings.parked.items()
            for number, entry in enumerate(waiting.newest)
        ]
        screen.print()
        screen.print(table("Objects waiting", ["reason", "count", "newest"], parked, right=[1]))
    print_watch(screen, holdings.detection, holdings.outbox)
    if letters or holdings.parked:
        screen.print("\nNext: siem load replay --dry-run")
    elif status.running:
        screen.print("\nNext: siem alerts list; siem down")
