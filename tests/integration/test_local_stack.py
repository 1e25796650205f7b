"""The local stack on real processes. The session's own servers are left alone: each test that stops has its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import uuid
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from opensearchpy import OpenSearch

from loader.config import Settings
from loader.errors import LocalStackError
from loader.local import process
from loader.local.cache import Cache
from loader.local.node import OpenSearchNode
from loader.local.stack import LocalStack, StackStatus

pytestmark = pytest.mark.integration


@pytest.fixture
def stack() -> object:
    """A stack of its own beside the session's, with the smallest heap."""
    stack = LocalStack(f"test-{os.getpid()}-own", settings=Settings(), heap="512m")
    yield stack
    stack.down(delete_data=True)


def listens(url: str | None) -> bool:
    assert url is not None
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def processes_of(folder: Path) -> list[int]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in pids if f"{folder}/" in process.command_line(pid)]


def test_up_down_up(stack: LocalStack) -> None:
    told: list[tuple[str, float | None]] = []
    first = LocalStack(
        stack.name, settings=Settings(), heap="512m", progress=lambda text, part: told.append((text, part))
    ).up()
    assert first.running
    assert first.version == "3.8.0"
    assert first.heap == "512m"
    assert first.disk_used > 0
    assert {text for text, _ in told} >= {"Find Java", "Start opensearch 3.8.0", "Start S3 and SQS"}
    assert all(part is None or 0 <= part <= 1 for _, part in told)
    if os.geteuid() == 0:
        assert first.node.pid is not None
        assert Path(f"/proc/{first.node.pid}").stat().st_uid != 0
    with OpenSearch(first.node.url) as client:
        assert client.info()["version"]["number"] == "3.8.0"
        client.index(index="kept", id="1", body={"a": 1}, params={"refresh": "true"})

    _a_second_up_reuses_it(stack, first)
    _down_leaves_no_process(stack, first)

    again = stack.up()
    assert (again.node.url, again.aws.url) == (first.node.url, first.aws.url)  # the same ports: they were free
    with OpenSearch(again.node.url) as client:
        assert client.get(index="kept", id="1")["_source"] == {"a": 1}

    _a_killed_server_is_noticed_and_replaced(stack, again)


def _a_second_up_reuses_it(stack: LocalStack, first: StackStatus) -> None:
    results: list[StackStatus] = []
    threads = [
        threading.Thread(target=lambda: results.append(LocalStack(stack.name, settings=Settings(), heap="512m").up()))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [(result.node.pid, result.aws.pid) for result in results] == [(first.node.pid, first.aws.pid)] * 2


def _down_leaves_no_process(stack: LocalStack, first: StackStatus) -> None:
    assert len(processes_of(stack.run_dir)) == 2
    after = stack.down()
    assert not after.node.running
    assert not after.aws.running
    assert processes_of(stack.run_dir) == []
    assert not listens(first.node.url)
    assert not listens(first.aws.url)


def _a_killed_server_is_noticed_and_replaced(stack: LocalStack, before: StackStatus) -> None:
    assert before.aws.pid is not None
    os.kill(before.aws.pid, 9)
    while process.exit_code(before.aws.pid) is None:
        pass
    status = LocalStack(stack.name, settings=Settings()).status()
    assert status.node.running
    assert not status.aws.running
    assert not status.running
    repaired = stack.up()
    assert repaired.running
    assert repaired.node.pid == before.node.pid


def test_a_server_that_cannot_start_shows_its_log_and_leaves_no_process(open_cache: Cache) -> None:
    node = OpenSearchNode(open_cache.run_dir("broken"), open_cache, heap="512m")
    node.folder.data.mkdir(parents=True)
    (node.folder.data / "nodes").write_text("a file where the server needs a folder")
    with pytest.raises(LocalStackError, match="ended while starting") as error:
        node.start()
    assert "nodes" in error.value.message  # the log's last lines
    assert error.value.where == str(node.log)
    assert node.log.is_file()
    assert processes_of(node.folder.path) == []
    assert not node.is_running


def test_a_server_that_takes_too_long_is_stopped(open_cache: Cache) -> None:
    node = OpenSearchNode(open_cache.run_dir("slow"), open_cache, heap="512m", start_timeout=0.5)
    with pytest.raises(LocalStackError, match="did not answer on port"):
        node.start()
    assert processes_of(node.folder.path) == []


@pytest.fixture
def open_cache() -> object:
    """The real cache (the server is in it), with the runs of these tests removed afterwards."""
    cache = Cache.of(Settings())
    cache.prepare(None)
    yield cache
    for name in ("broken", "slow"):
        shutil.rmtree(cache.run_dir(name), ignore_errors=True)


@pytest.mark.parametrize("key", ["AWSLogs/1/CloudTrail/a.json.gz", "a b+c/ü.json"])
def test_s3_notifies_sqs_as_aws_does(aws: object, key: str) -> None:
    s3, sqs = aws.s3, aws.sqs  # type: ignore[attr-defined]
    name = f"test-{uuid.uuid4().hex[:12]}"
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.create_bucket(Bucket=name)
    s3.put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    s3.put_object(Bucket=name, Key=key, Body=b"{}")
    bodies = [json.loads(message["Body"]) for message in _receive(sqs, queue, 2)]
    assert bodies[0]["Event"] == "s3:TestEvent"
    assert bodies[0]["Bucket"] == name
    (record,) = bodies[1]["Records"]
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["s3"]["bucket"]["name"] == name
    # Encoded like a form, as S3 does it. (moto encodes the slash too, S3 does not; decoded it is the same.)
    assert record["s3"]["object"]["key"].replace("%2F", "/") == quote_plus(key, safe="/")


def test_s3_notifies_sns_which_delivers_to_sqs(aws: object) -> None:
    s3, sqs, sns = aws.s3, aws.sqs, aws.sns  # type: ignore[attr-defined]
    name = f"test-{uuid.uuid4().hex[:12]}"
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name=name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    s3.create_bucket(Bucket=name)
    s3.put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration={"TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]},
    )
    s3.put_object(Bucket=name, Key="k.json", Body=b"{}")
    envelopes = [json.loads(message["Body"]) for message in _receive(sqs, queue, 2)]
    assert {envelope["Type"] for envelope in envelopes} == {"Notification"}
    assert json.loads(envelopes[-1]["Message"])["Records"][0]["s3"]["object"]["key"] == "k.json"


def _receive(sqs: object, queue: str, wanted: int) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    for _ in range(10):
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)  # type: ignore[attr-defined]
        for message in answer.get("Messages", []):
            messages.append(message)
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])  # type: ignore[attr-defined]
        if len(messages) >= wanted:
            break
    return messages
