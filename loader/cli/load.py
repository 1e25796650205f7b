"""``siem load``: the ways in."""

from __future__ import annotations

import signal
from types import FrameType

import click

from loader.cli.output import print_json
from loader.cli.settings import settings_for_cluster
from loader.clock import SystemClock
from loader.errors import ConfigError
from loader.ingest.assemble import assemble, aws_client
from loader.ingest.worker import QueueOptions, QueueWorker
from loader.telemetry import configure_logging


@click.group("load")
def command() -> None:
    """Load CloudTrail records into the cluster."""


@command.command("worker")
@click.option("--drain", is_flag=True, help="Stop when the queue is empty instead of waiting for more.")
@click.option("--queue", "queue_url", help="URL of the SQS queue.  [default: SIEM_QUEUE_URL]")
@click.option("--workers", type=click.IntRange(1, 64), help="Objects loaded at the same time.  [default: SIEM_WORKERS]")
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), default="INFO", show_default=True)
def worker_command(drain: bool, queue_url: str | None, workers: int | None, log_level: str) -> None:
    """Consume S3 notifications from a queue until stopped (SIGTERM or Ctrl-C: what is in work is finished first).

    Logs are JSON lines on standard error, the accounts one JSON object on standard output at the end.
    """
    configure_logging(log_level)
    settings = settings_for_cluster()
    url = queue_url or settings.queue_url
    if url is None:
        raise ConfigError("no queue is configured", where="SIEM_QUEUE_URL", hint="Set it, or pass --queue URL.")
    assembly = assemble(settings)
    worker = QueueWorker(
        aws_client(settings, "sqs"),
        assembly.loader,
        assembly.dead_letters,
        QueueOptions(url, workers=workers or settings.workers, drain=drain),
        clock=SystemClock(),
    )

    def stop(_number: int, _frame: FrameType | None) -> None:
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print_json(worker.run().as_dict())
