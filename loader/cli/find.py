"""``siem load find``."""

from __future__ import annotations

import click

from loader.cli.output import console, print_json, table
from loader.cli.parameters import Something
from loader.cli.settings import settings_for_cluster
from loader.index.client import make_client
from loader.index.ledger import find_objects


@click.command("find")
@click.argument("text", type=Something())
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Entries shown at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def find_command(text: str, limit: int, as_json: bool) -> None:
    """Answer "was this file loaded?": TEXT is a key, a part of one, or s3://bucket/key.

    Exit code 1 if no object is found.
    """
    client = make_client(settings_for_cluster(quiet=as_json))
    entries = find_objects(client, text, limit=limit)
    if as_json:
        print_json({"objects": entries})
    elif entries:
        columns = ("outcome", "read", "indexed", "duplicates", "dead_lettered", "dropped", "loads", "@timestamp")
        rows = [(*(entry.get(name) for name in columns), f"s3://{entry['bucket']}/{entry['key']}") for entry in entries]
        console().print(table(None, [*columns[:-1], "loaded", "object"], rows, right=range(1, 7)))
    else:
        console().print("No such object was loaded or parked.")
    if not entries:
        raise click.exceptions.Exit(1)
