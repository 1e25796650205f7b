"""``siem load worker`` as a process: SIGTERM finishes what is in work, and what is in work is nobody else's."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loader.clock import SystemClock
from loader.config import Settings
from loader.exposition import MetricsServer
from loader.ingest.answers import QueueAnswers
from loader.ingest.assemble import assemble, message_handler
from loader.ingest.metrics import Metrics
from loader.ingest.visibility import VisibilityKeeper
from loader.ingest.worker import QueueOptions, QueueWorker
from loader.local.aws import CREDENTIALS

pytestmark = pytest.mark.integration

SOON_S = 60
RECORD = {"eventVersion": "1.08", "eventTime": "2026-11-01T10:00:00Z", "eventSource": "iam.amazonaws.com"}


class SlowCluster(ThreadingHTTPServer):
    """A stand-in that takes everything, and each ``_bulk`` only when it is let: no real node is slow on demand."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.written = 0
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer: dict[str, Any] = {}
                if self.path.partition("?")[0].endswith("/_bulk"):
                    count = body.count(b"\n") // 2
                    if self.path.startswith("/log-"):  # not the ledger's
                        cluster.asked.set()
                        cluster.go_on.wait(SOON_S)
                        cluster.written += count
                    answer = {"errors": False, "items": [{"create": {"status": 201}}] * count}
                sent = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(sent)

            do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815  # the base class's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def cluster() -> Iterator[SlowCluster]:
    server = SlowCluster()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.go_on.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def queue(aws: Any) -> str:
    return str(aws.sqs.create_queue(QueueName=f"worker-{uuid.uuid4().hex[:12]}")["QueueUrl"])


def waiting(aws: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def announce(aws: Any, url: str, count: int) -> None:
    bucket = url.rsplit("/", 1)[-1]
    aws.s3.create_bucket(Bucket=bucket)
    for number in range(count):
        key = f"{number}.json.gz"
        body = gzip.compress(json.dumps({"Records": [{**RECORD, "eventID": str(number)}]}).encode())
        aws.s3.put_object(Bucket=bucket, Key=key, Body=body)
        place = {"bucket": {"name": bucket}, "object": {"key": key}}
        event = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": place}
        aws.sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"Records": [event]}))


def test_sigterm_finishes_what_is_in_work_and_takes_nothing_more(
    aws: Any, servers: Any, queue: str, cluster: SlowCluster
) -> None:
    announce(aws, queue, 3)
    environment = {
        **os.environ,
        "SIEM_CLUSTER_URL": f"http://127.0.0.1:{cluster.server_address[1]}",
        "SIEM_AWS_ENDPOINT_URL": servers.aws_endpoint_url,
        "SIEM_AWS_REGION": "us-east-1",
        **CREDENTIALS,
    }
    command = [str(Path(sys.executable).with_name("siem")), "load", "worker", "--workers", "1", "--queue", queue]
    command += ["--metrics-port", "0", "--log-level", "ERROR"]
    worker = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert cluster.asked.wait(SOON_S), "nothing was sent to the cluster"
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert worker.poll() is None, "it went with a document on its way"
        cluster.go_on.set()
        out, err = worker.communicate(timeout=SOON_S)
    finally:
        worker.kill()
    assert worker.returncode == 0, err
    totals = json.loads(out)
    assert (totals["objects"], totals["indexed"], totals["returned"], totals["balanced"]) == (1, 1, 0, True)
    assert cluster.written == 1
    assert waiting(aws, queue) == 2, "what was finished is acknowledged, the rest waits for others"


def test_a_message_in_work_stays_out_of_sight_for_longer_than_its_time(aws: Any, queue: str) -> None:
    aws.sqs.send_message(QueueUrl=queue, MessageBody="in work")

    def take() -> list[dict[str, Any]]:
        answer = aws.sqs.receive_message(QueueUrl=queue, VisibilityTimeout=2, WaitTimeSeconds=0)
        return list(answer.get("Messages", []))

    (message,) = take()
    with VisibilityKeeper(QueueAnswers(aws.sqs, queue), 2) as keeper, keeper.keep([message["ReceiptHandle"]]):
        until = time.monotonic() + 4.5
        while time.monotonic() < until:
            assert take() == []
            time.sleep(0.2)
    until = time.monotonic() + SOON_S
    while not (again := take()) and time.monotonic() < until:
        time.sleep(0.2)
    assert [one["Body"] for one in again] == ["in work"], "when nobody keeps it, it comes again"


def test_health_and_metrics_are_served(
    aws: Any, servers: Any, queue: str, cluster: SlowCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    cluster.go_on.set()
    announce(aws, queue, 2)
    settings = Settings(
        cluster_url=f"http://127.0.0.1:{cluster.server_address[1]}",
        aws_endpoint_url=servers.aws_endpoint_url,
        aws_region="us-east-1",
    )
    metrics, assembly = Metrics(), assemble(settings)
    handler = message_handler(assembly, queue="q", metrics=metrics)
    worker = QueueWorker(aws.sqs, handler, QueueOptions(queue, workers=1, drain=True), clock=SystemClock())
    with MetricsServer(metrics.registry, worker.trouble, host="127.0.0.1", port=0) as server:
        worker.run()
        at = f"http://127.0.0.1:{server.port}"
        assert urllib.request.urlopen(f"{at}/healthz").status == 200
        shown = urllib.request.urlopen(f"{at}/metrics").read().decode()
    assert 'siem_records_total{outcome="indexed"} 2.0' in shown
    assert 'siem_messages_total{outcome="acknowledged"} 2.0' in shown
