"""``siem down``."""

from __future__ import annotations

import click

from loader.cli.output import console, error_console
from loader.config import read_settings
from loader.local.stack import LocalStack


@click.command("down")
@click.option("--delete", is_flag=True, help="Also delete the node's data, the logs and the configuration.")
def command(delete: bool) -> None:
    """Stop the local stack. The node's documents stay, and are there again after the next start."""
    stack = LocalStack(settings=read_settings())
    before = stack.status()
    ran = before.node.running or before.aws.running
    with error_console().status("Stopping the local stack"):
        stack.down(delete_data=delete)
    console().print("The local stack is stopped." if ran else "The local stack was not running.")
    if delete:
        console().print(f"Deleted {before.run_dir}")
