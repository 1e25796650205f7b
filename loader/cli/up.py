"""``siem up``."""

from __future__ import annotations

import click

from loader.cli.output import console, error_console, print_json
from loader.cli.settings import local_stack
from loader.config import read_settings


@click.command("up")
@click.option("--heap", default="1g", show_default=True, help="Heap of the OpenSearch node, e.g. 512m or 2g.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(heap: str, as_json: bool) -> None:
    """Start a local OpenSearch and an S3/SQS/SNS emulator, and leave them running.

    Nothing but this machine is needed: no Docker, no AWS account. What runs already is left as it is. The servers
    listen on loopback only. The first start downloads the server (154 MB).
    """
    stack = local_stack(read_settings())
    with error_console().status("Starting the local stack") as status:
        state = stack.up(heap=heap, step=lambda text: status.update(text))
    if as_json:
        print_json({"opensearch": state.opensearch_url, "aws": state.aws_endpoint_url, "run": str(stack.run)})
        return
    screen = console()
    screen.print(f"OpenSearch {state.opensearch_version}   {state.opensearch_url}")
    screen.print(f"S3, SQS, SNS (moto)   {state.aws_endpoint_url}")
    screen.print(f"Data and logs         {stack.run}")
    screen.print("\nOther siem commands use it by themselves. Next: siem demo --keep; siem status; siem down.")
