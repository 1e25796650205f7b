"""A cluster that takes requests and never answers: nobody waits for it longer than there is time.

A stand-in hangs; the queue and S3 are moto's server.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from loader.clock import SystemClock
from loader.config import Settings
from loader.entrypoints import lambda_handler
from loader.index.deadline import seconds_left, within
from loader.ingest.assemble import assemble, message_handler
from loader.ingest.messages import MessageHandler
from loader.ingest.worker import QueueOptions, QueueWorker
from loader.local.aws import environment

pytestmark = pytest.mark.integration

KEY = "AWSLogs/123456789012/CloudTrail/us-east-1/2023/07/10/123456789012_CloudTrail_us-east-1_20230710T1145Z_{}.json.gz"
RECORD = {"eventVersion": "1.08", "eventTime": "2023-07-10T11:40:00Z", "eventSource": "iam.amazonaws.com"}


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a server that accepts and reads, and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    for connection in held:
        connection.close()


@pytest.fixture
def handler(hanging: str, servers: Any, monkeypatch: pytest.MonkeyPatch) -> MessageHandler:
    for name, value in environment(servers.aws_endpoint_url).items():
        monkeypatch.setenv(name, value)
    settings = Settings(
        cluster_url=hanging, aws_endpoint_url=servers.aws_endpoint_url, aws_region="us-east-1", cluster_timeout_s=60
    )
    return message_handler(assemble(settings), queue="limits")


@pytest.fixture
def bodies(aws: Any) -> list[str]:
    """Announcements of two objects."""
    bucket = f"limits-{uuid.uuid4().hex[:12]}"
    aws.s3.create_bucket(Bucket=bucket)
    made = []
    for number in range(2):
        key = KEY.format(number)
        aws.s3.put_object(Bucket=bucket, Key=key, Body=orjson.dumps({"Records": [RECORD]}))
        s3 = {"bucket": {"name": bucket}, "object": {"key": key}}
        said = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}]}
        made.append(orjson.dumps(said).decode())
    return made


class Context:
    """Lambda's clock (AWS itself cannot run here)."""

    aws_request_id = "request-1"

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - time.monotonic()) * 1000)


def test_a_function_answers_before_its_time_is_up(
    handler: MessageHandler, bodies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lambda_handler, "_handler", lambda: handler)
    monkeypatch.setattr(lambda_handler, "_RESERVE_MS", 3_500)
    batch = {"Records": [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]}
    context = Context(5.0)
    answer = lambda_handler.handler(batch, context)
    assert [entry["itemIdentifier"] for entry in answer["batchItemFailures"]] == ["0", "1"]
    assert context.get_remaining_time_in_millis() > 1_500


def test_a_worker_that_is_asked_to_stop_gives_back_what_it_cannot_finish(
    aws: Any, handler: MessageHandler, bodies: list[str]
) -> None:
    url = aws.sqs.create_queue(QueueName=f"limits-{uuid.uuid4().hex[:12]}")["QueueUrl"]
    for body in bodies:
        aws.sqs.send_message(QueueUrl=url, MessageBody=body)
    options = QueueOptions(url, workers=2, wait=1, grace=1.0)
    worker = QueueWorker(aws.sqs, handler, options, clock=SystemClock())
    worker._rng.randint = lambda _low, _high: 0  # type: ignore[method-assign]  # at once
    running = threading.Thread(target=worker.run)
    running.start()
    time.sleep(2.0)
    began = time.monotonic()
    worker.stop()
    running.join(15)
    assert not running.is_alive()
    assert time.monotonic() - began < 8
    found = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    assert found["ApproximateNumberOfMessages"] == "2"


def test_a_limit_holds_inside_its_block_and_thread_only() -> None:
    found: list[float] = []
    with within(lambda: 3.0):
        with within(lambda: 1.0):
            assert seconds_left() == 1.0
        assert seconds_left() == 3.0
        thread = threading.Thread(target=lambda: found.append(seconds_left()))
        thread.start()
        thread.join()
    assert found == [float("inf")]
    assert seconds_left() == float("inf")
