"""Settings → a loader ready to work. Clients are made here and nowhere at import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from loader.aws_errors import making_client
from loader.clock import Clock, SystemClock
from loader.config import Settings
from loader.identity.writer import SessionWriter
from loader.index.bulk import BulkWriter
from loader.index.client import make_client
from loader.index.gate import IndexGate
from loader.index.ledger import Ledger
from loader.index.lookup import Lookup
from loader.index.parked import DeadLetterOffice
from loader.ingest.filters import dropper, keep_all, read_filters
from loader.ingest.known import KnownRecords
from loader.ingest.messages import MessageHandler
from loader.ingest.metrics import Metrics
from loader.ingest.objects import ObjectLoader
from loader.ingest.report import ObjectReport
from loader.ingest.sessions import SessionKeeper
from loader.source.ahead import AT_A_TIME
from loader.source.fetch import Fetch, s3_fetch
from loader.source.objects import Limits


@dataclass(frozen=True, slots=True)
class Assembly:
    """What loading needs, wired together."""

    cluster: OpenSearch
    loader: ObjectLoader
    dead_letters: DeadLetterOffice
    clock: Clock
    #: Deliveries after which a message that can never succeed is parked.
    patience: int


def message_handler(
    assembly: Assembly,
    *,
    queue: str,
    metrics: Metrics | None = None,
    on_report: Callable[[ObjectReport], None] | None = None,
) -> MessageHandler:
    """Return a handler of queue messages. ``queue`` names the queue in dead letters."""
    return MessageHandler(
        assembly.loader,
        assembly.dead_letters,
        queue=queue,
        patience=assembly.patience,
        metrics=metrics,
        on_report=on_report,
    )


def aws_client(settings: Settings, service: str) -> Any:
    """Return a boto3 client for ``service`` (``s3``, ``sqs``, …) by the settings' region and endpoint.

    Raises:
        ConfigError: there is no region, no such profile, or an endpoint that is none.
    """
    import boto3
    from botocore.config import Config

    with making_client(service):
        return boto3.client(
            service,
            region_name=settings.aws_region or None,
            endpoint_url=settings.aws_endpoint_url or None,
            config=Config(
                connect_timeout=10,
                # SQS may keep a request for 20 seconds; of all others nobody waits that long for the next byte.
                read_timeout=60 if service == "sqs" else 20,
                retries={"mode": "standard", "max_attempts": 3},
                max_pool_connections=settings.workers * 2 + AT_A_TIME,
                s3={"addressing_style": "path"} if settings.aws_endpoint_url else {},
            ),
        )


def assemble(
    settings: Settings,
    *,
    fetch: Fetch | None = None,
    cluster: OpenSearch | None = None,
    clock: Clock | None = None,
) -> Assembly:
    """Wire a loader. ``fetch`` defaults to S3 by the settings.

    Raises:
        ConfigError: a setting is missing or contradicts another.
    """
    clock = clock or SystemClock()
    cluster = cluster or make_client(settings, pool=settings.workers + 4)
    gate = IndexGate(cluster, clock=clock, per_hour=settings.new_indices_per_hour, keep_days=settings.delete_days)
    writer = BulkWriter(cluster, clock=clock, gate=gate)
    dead_letters = DeadLetterOffice(cluster, writer, clock=clock, bulk_max_bytes=settings.bulk_max_bytes)
    loader = ObjectLoader(
        fetch=fetch or s3_fetch(aws_client(settings, "s3")),
        writer=writer,
        dead_letters=dead_letters,
        ledger=Ledger(cluster, clock=clock),
        sessions=SessionKeeper(SessionWriter(writer), dead_letters),
        known=KnownRecords(Lookup(cluster, clock=clock)),
        clock=clock,
        limits=Limits(buffer=settings.object_max_bytes, record=settings.record_max_bytes),
        bulk_max_bytes=settings.bulk_max_bytes,
        drop=dropper(read_filters(settings.drop_filters)) if settings.drop_filters else keep_all,
    )
    return Assembly(cluster, loader, dead_letters, clock, settings.message_receives)
