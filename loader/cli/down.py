"""``siem down``."""

from __future__ import annotations

import click

from loader.cli.output import console, error_console
from loader.cli.settings import local_stack
from loader.config import read_settings


@click.command("down")
@click.option("--delete", is_flag=True, help="Also delete the node's data, the logs and the configuration.")
def command(delete: bool) -> None:
    """Stop the local stack. The node's documents stay and are there again after the next start."""
    stack = local_stack(read_settings())
    with error_console().status("Stopping the local stack"):
        ran = stack.down(delete=delete)
    console().print("The local stack is stopped." if ran else "The local stack was not running.")
    if delete:
        console().print(f"Deleted {stack.run}")
