"""``siem cluster``: what the cluster must know before documents are written."""

from __future__ import annotations

import click

from loader.cli.output import console, print_json, table
from loader.cli.settings import settings_for_cluster
from loader.index.client import make_client
from loader.index.templates import apply, plan, read_templates


@click.group("cluster")
def command() -> None:
    """Index templates: show what would change, and apply it."""


@command.command("plan")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan_command(as_json: bool) -> None:
    """Show which templates are new or different; change nothing."""
    _show(apply_too=False, as_json=as_json)


@command.command("init")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def init_command(as_json: bool) -> None:
    """Apply the templates. Run it before the first load and after each update; running it again changes nothing.

    Existing indices keep their mappings; new daily indices get the new ones.
    """
    _show(apply_too=True, as_json=as_json)


def _show(*, apply_too: bool, as_json: bool) -> None:
    client = make_client(settings_for_cluster(quiet=as_json))
    changes = plan(client, read_templates())
    if apply_too:
        apply(client, changes)
    if as_json:
        print_json({"applied": apply_too, "templates": {change.template.name: change.action for change in changes}})
        return
    rows = [(change.template.kind, change.template.name, change.action) for change in changes]
    console().print(table("Templates", ["kind", "name", "applied" if apply_too else "would be"], rows))
