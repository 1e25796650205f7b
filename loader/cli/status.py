"""``siem status``."""

from __future__ import annotations

import click

from loader.cli.output import console, print_json, table
from loader.config import read_settings
from loader.local.stack import LocalStack, StackStatus


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Show whether the local stack runs, and where. Ends with exit code 3 if it does not."""
    status = LocalStack(settings=read_settings()).status()
    facts = _facts(status)
    if as_json:
        print_json(facts)
    else:
        shown = [
            (name.replace("_", " "), value) for name, value in facts.items() if value is not None and name != "notes"
        ]
        console().print(table("Local stack", ["", ""], shown))
        for note in status.notes:
            console().print(f"\n{note}", markup=False)
        console().print("\nNext: siem alerts list, siem down." if status.running else "\nNext: siem up")
    if not status.running:
        raise click.exceptions.Exit(3)


def _facts(status: StackStatus) -> dict[str, object]:
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
