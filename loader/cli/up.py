"""``siem up``."""

from __future__ import annotations

import click

from loader.cli.output import console, error_console, print_json
from loader.config import read_settings
from loader.local.stack import LocalStack, StackStatus

heap_option = click.option(
    "--heap", default="1g", show_default=True, help="Heap of the OpenSearch node, e.g. 512m or 2g."
)


def bring_up(heap: str, *, quiet: bool = False) -> StackStatus:
    """Start the local stack if it does not run, showing each step on standard error."""
    screen = error_console()
    if quiet or not screen.is_terminal:
        return LocalStack(settings=read_settings(), heap=heap).up()
    with screen.status("Starting the local stack") as shown:

        def step(text: str, share: float | None) -> None:
            shown.update(text if share is None else f"{text} ({share:.0%})")

        return LocalStack(settings=read_settings(), heap=heap, progress=step).up()


@click.command("up")
@heap_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(heap: str, as_json: bool) -> None:
    """Start a local OpenSearch and an S3/SQS/SNS emulator, and leave them running.

    Nothing but this machine is needed: no Docker, no AWS account. What runs already is left as it is. The servers
    listen on loopback only. The first start downloads the server (154 MB).
    """
    status = bring_up(heap, quiet=as_json)
    if as_json:
        print_json({"opensearch": status.node.url, "aws": status.aws.url, "run": str(status.run_dir)})
        return
    screen = console()
    screen.print(f"{'OpenSearch ' + (status.version or ''):<22}{status.node.url}")
    screen.print(f"{'S3, SQS, SNS (moto)':<22}{status.aws.url}")
    screen.print(f"{'Data and logs':<22}{status.run_dir}")
    screen.print("\nOther siem commands use it by themselves. Next: siem demo --keep; siem status; siem down.")
