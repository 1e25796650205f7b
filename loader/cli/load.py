"""``siem load``: the ways in."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from types import FrameType

import click

from loader.cli.backfill import backfill_command
from loader.cli.find import find_command
from loader.cli.output import print_json
from loader.cli.parameters import Something
from loader.cli.replay import replay_command
from loader.cli.settings import settings_for_cluster
from loader.errors import ConfigError
from loader.exposition import MetricsServer
from loader.ingest.assemble import assemble, aws_client, message_handler
from loader.ingest.metrics import Metrics
from loader.ingest.queue_errors import check_queue
from loader.ingest.worker import QueueOptions, QueueWorker
from loader.telemetry import configure_logging

_LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"])


@click.group("load")
def command() -> None:
    """Load CloudTrail records into the cluster."""


@command.command("worker")
@click.option("--drain", is_flag=True, help="Stop when the queue is empty instead of waiting for more.")
@click.option("--queue", "queue_url", type=Something(), help="URL of the SQS queue.  [default: SIEM_QUEUE_URL]")
@click.option("--workers", type=click.IntRange(1, 64), help="Objects loaded at the same time.  [default: SIEM_WORKERS]")
@click.option(
    "--visibility", default=300, show_default=True, type=click.IntRange(5, 43200), help="Seconds a message is kept."
)
@click.option(
    "--grace", default=45.0, show_default=True, type=click.FloatRange(0), help="Seconds to finish in after SIGTERM."
)
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Serve /metrics and /healthz on this port.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address to serve them on.")
@click.option("--log-level", type=_LEVELS, default="INFO", show_default=True, help="What is logged at least.")
def worker_command(
    drain: bool,
    queue_url: str | None,
    workers: int | None,
    visibility: int,
    grace: float,
    metrics_port: int | None,
    metrics_host: str,
    log_level: str,
) -> None:
    """Consume S3 notifications from a queue until stopped.

    SIGTERM and Ctrl-C finish what is in work first, and give back what takes longer than the grace; another Ctrl-C does
    not wait. Logs are JSON lines on standard error; the accounts are one JSON object on standard output at the end. Any
    number of workers may share a queue.
    """
    configure_logging(log_level)
    settings = settings_for_cluster()
    url = queue_url or settings.queue_url
    if not url:
        raise ConfigError("no queue is configured", where="SIEM_QUEUE_URL", hint="Set it, or pass --queue URL.")
    metrics = Metrics()
    assembly = assemble(settings)
    handler = message_handler(assembly, queue=url.rsplit("/", 1)[-1], metrics=metrics)
    options = QueueOptions(url, workers=workers or settings.workers, visibility=visibility, grace=grace, drain=drain)
    sqs = aws_client(settings, "sqs")
    check_queue(sqs, url)
    worker = QueueWorker(sqs, handler, options, clock=assembly.clock)

    def stop(_number: int, _frame: FrameType | None) -> None:
        worker.stop()
        # Again, from a keyboard: without waiting. What was in work comes again when its time out of sight is over.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with ExitStack() as stack:
        if metrics_port is not None:
            stack.enter_context(MetricsServer(metrics.registry, worker.trouble, host=metrics_host, port=metrics_port))
        totals = worker.run()
    print_json(totals.as_dict())


command.add_command(backfill_command)
command.add_command(replay_command)
command.add_command(find_command)
