"""``siem status``."""

from __future__ import annotations

import click

from loader.cli.output import console, print_json, table
from loader.cli.settings import local_stack
from loader.config import read_settings


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """Show whether the local stack runs, and where. Ends with exit code 3 if it does not."""
    stack = local_stack(read_settings())
    state = stack.running_state()
    facts: dict[str, object] = {"running": state is not None, "run": str(stack.run), "logs": str(stack.logs)}
    if state is not None:
        facts |= {
            "opensearch": state.opensearch_url,
            "opensearch_version": state.opensearch_version,
            "opensearch_pid": state.opensearch_pid,
            "java": state.java,
            "heap": state.heap,
            "aws": state.aws_endpoint_url,
            "aws_pid": state.aws_pid,
            "started": state.started,
        }
    if as_json:
        print_json(facts)
    else:
        console().print(table("Local stack", ["", ""], facts.items()))
        if state is None:
            console().print("\nNext: siem up")
    if state is None:
        raise click.exceptions.Exit(3)
