"""Objects that cannot be read now: named, parked, listed by ``siem status``, and loaded by a replay once they can be.

Against the real node and moto's server, which archives, restores, denies by a bucket policy, keeps versions and
compares etags as S3 does. What KMS answers is stubbed (tests/unit/source/test_fetch.py).
"""

from __future__ import annotations

import gzip
import json
import uuid
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from opensearchpy import OpenSearch

from loader.cli.main import main
from loader.entrypoints import lambda_handler
from loader.local.aws import CREDENTIALS

pytestmark = pytest.mark.integration

KEY = "AWSLogs/123456789012/CloudTrail/us-east-1/2026/11/01/123456789012_CloudTrail_us-east-1_20261101T1000Z_a.json.gz"


def record(number: int) -> dict[str, Any]:
    return {
        "eventVersion": "1.08",
        "eventTime": "2026-11-01T09:55:00Z",
        "eventSource": "iam.amazonaws.com",
        "eventName": "CreateUser",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "198.51.100.7",
        "userIdentity": {"type": "Root", "accountId": "123456789012"},
        "eventID": str(number),
        "recipientAccountId": "123456789012",
    }


def log_file(*numbers: int) -> bytes:
    return gzip.compress(json.dumps({"Records": [record(number) for number in numbers]}).encode(), mtime=0)


class Operator:
    """Somebody with a command line, a bucket, and a queue that the bucket's notifications are put into by hand."""

    def __init__(self, aws: Any, cluster: OpenSearch) -> None:
        self.s3, self.sqs, self.cluster = aws.s3, aws.sqs, cluster
        self.bucket = f"parked-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.url = self.sqs.create_queue(QueueName=self.bucket)["QueueUrl"]

    def run(self, *words: str) -> Any:
        if "worker" not in words:
            words = (*words, "--json")
        self.cluster.indices.refresh(index="log-*,siem-*", params={"ignore_unavailable": "true"})
        result: Result = CliRunner().invoke(main, list(words))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return json.loads(result.stdout)

    def put(self, body: bytes, **options: str) -> dict[str, Any]:
        """Put the object and return what a notification says of it."""
        answer = self.s3.put_object(Bucket=self.bucket, Key=KEY, Body=body, **options)
        entry = {"key": KEY, "eTag": answer["ETag"].strip('"'), "size": len(body)}
        if "VersionId" in answer:
            entry["versionId"] = answer["VersionId"]
        return entry

    def load(self, *entries: dict[str, Any]) -> Any:
        """Announce objects and let a worker drain the queue."""
        for entry in entries:
            event = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-11-01T10:01:00.000Z"}
            event["s3"] = {"bucket": {"name": self.bucket}, "object": entry}
            self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps({"Records": [event]}))
        return self.run("load", "worker", "--drain", "--queue", self.url, "--log-level", "ERROR")

    def status(self) -> list[tuple[str, str]]:
        return [(entry["reason"], entry["key"]) for entry in self.run("status")["cluster"]["parked"]]

    def entries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.run("load", "find", KEY)["objects"]
        return found

    def event_ids(self) -> set[str]:
        self.cluster.indices.refresh(index="log-*", params={"ignore_unavailable": "true"})
        hits = self.cluster.search(index="log-*", body={"size": 100}, params={"ignore_unavailable": "true"})["hits"]
        return {hit["_source"]["event"]["id"] for hit in hits["hits"]}


@pytest.fixture
def operator(templates: OpenSearch, servers: Any, aws: Any, monkeypatch: pytest.MonkeyPatch) -> Operator:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SIEM_CLUSTER_URL", servers.opensearch_url)
    monkeypatch.setenv("SIEM_AWS_ENDPOINT_URL", servers.aws_endpoint_url)
    monkeypatch.setenv("SIEM_AWS_REGION", CREDENTIALS["AWS_REGION"])
    return Operator(aws, templates)


def _gone(operator: Operator) -> Callable[[], object]:
    operator.s3.delete_object(Bucket=operator.bucket, Key=KEY)
    return lambda: operator.put(log_file(1, 2))


def _archived(operator: Operator) -> Callable[[], object]:
    operator.put(log_file(1, 2), StorageClass="GLACIER")
    return lambda: operator.s3.restore_object(Bucket=operator.bucket, Key=KEY, RestoreRequest={"Days": 1})


def _forbidden(operator: Operator) -> Callable[[], object]:
    resource = f"arn:aws:s3:::{operator.bucket}/*"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": resource}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    operator.s3.put_bucket_policy(Bucket=operator.bucket, Policy=policy)
    return lambda: operator.s3.delete_bucket_policy(Bucket=operator.bucket)


@pytest.mark.parametrize(
    ("reason", "spoil"),
    [("missing", _gone), ("archived", _archived), ("forbidden", _forbidden)],
    ids=["missing", "archived", "forbidden"],
)
def test_an_object_that_cannot_be_read_is_parked_listed_and_loaded_by_a_replay(
    operator: Operator, reason: str, spoil: Callable[[Operator], Callable[[], object]]
) -> None:
    entry = operator.put(log_file(1, 2))
    cure = spoil(operator)
    worked = operator.load(entry)
    assert (worked["parked"], worked["indexed"], worked["returned"], worked["balanced"]) == ({reason: 1}, 0, 0, True)
    assert operator.status() == [(reason, KEY)]
    assert operator.run("load", "replay", "--dry-run") == {"waiting": {reason: 1}}
    assert operator.run("load", "replay", "--reason", reason) == {"done": {}, "left": {reason: 1}}
    assert operator.status() == [(reason, KEY)]

    cure()
    assert operator.run("load", "replay", "--reason", reason) == {"done": {"object": 1}, "left": {}}
    assert operator.event_ids() == {"1", "2"}
    assert operator.status() == []
    (found,) = operator.entries()
    assert (found["outcome"], found["indexed"], found["loads"]) == ("loaded", 2, 3)
    assert operator.run("load", "replay", "--dry-run") == {"waiting": {}}


def test_an_object_that_was_replaced_is_parked_beside_the_one_that_replaced_it(operator: Operator) -> None:
    first, second = operator.put(log_file(1, 2)), operator.put(log_file(3))
    worked = operator.load(second, first)
    assert (worked["parked"], worked["indexed"]) == ({"replaced": 1}, 1)
    assert operator.event_ids() == {"3"}
    assert operator.status() == [("replaced", KEY)]
    assert {(entry["outcome"], entry["etag"]) for entry in operator.entries()} == {
        ("loaded", second["eTag"]),
        ("parked", first["eTag"]),
    }
    # The one that was announced does not come back; trying again loads what is there, which is there already.
    assert operator.run("load", "replay", "--reason", "replaced") == {"done": {"object": 1}, "left": {}}
    assert operator.event_ids() == {"3"}
    assert operator.status() == []
    assert sorted(entry["outcome"] for entry in operator.entries()) == ["loaded", "superseded"]


def test_what_replaced_an_object_is_loaded_by_a_replay_if_nothing_announced_it(operator: Operator) -> None:
    first = operator.put(log_file(1, 2))
    operator.put(log_file(3))
    assert operator.load(first)["parked"] == {"replaced": 1}
    assert operator.run("load", "replay") == {"done": {"object": 1}, "left": {}}
    assert operator.event_ids() == {"3"}


def test_of_a_versioned_object_the_version_that_was_announced_is_loaded(operator: Operator) -> None:
    operator.s3.put_bucket_versioning(Bucket=operator.bucket, VersioningConfiguration={"Status": "Enabled"})
    first, second = operator.put(log_file(1, 2)), operator.put(log_file(3))
    worked = operator.load(first)
    assert (worked["parked"], worked["indexed"]) == ({}, 2)
    assert operator.event_ids() == {"1", "2"}
    assert operator.load(second)["indexed"] == 1
    assert operator.event_ids() == {"1", "2", "3"}
    assert {entry["version_id"] for entry in operator.entries()} == {first["versionId"], second["versionId"]}


def test_a_version_that_was_deleted_is_missing(operator: Operator) -> None:
    operator.s3.put_bucket_versioning(Bucket=operator.bucket, VersioningConfiguration={"Status": "Enabled"})
    first = operator.put(log_file(1))
    operator.put(log_file(2))
    operator.s3.delete_object(Bucket=operator.bucket, Key=KEY, VersionId=first["versionId"])
    assert operator.load(first)["parked"] == {"missing": 1}
    assert operator.event_ids() == set()


def test_the_ledger_tells_how_late_an_object_was_loaded(operator: Operator) -> None:
    operator.load(operator.put(log_file(1)))
    (entry,) = operator.entries()
    assert entry["delivered"] == "2026-11-01T10:01:00.000Z"
    assert entry["lag_from_delivery_s"] == pytest.approx(entry["lag_from_event_s"] - 6 * 60, abs=0.01)


# --- a subscription of CloudWatch Logs ------------------------------------------------------------------------------


class Context:
    """Lambda's context object (AWS itself cannot run here)."""

    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def subscription(*messages: str) -> dict[str, Any]:
    events = [
        {"id": f"event-{number}", "timestamp": 1793526900000, "message": message}
        for number, message in enumerate(messages)
    ]
    envelope = {
        "messageType": "DATA_MESSAGE",
        "owner": "123456789012",
        "logGroup": "aws-cloudtrail-logs",
        "logStream": "123456789012_CloudTrail_us-east-1",
        "subscriptionFilters": ["siem"],
        "logEvents": events,
    }
    return {"awslogs": {"data": b64encode(gzip.compress(json.dumps(envelope).encode(), mtime=0)).decode()}}


@pytest.fixture
def function(operator: Operator) -> Any:
    lambda_handler._handler.cache_clear()
    yield lambda event: lambda_handler.handler(event, Context())
    lambda_handler._handler.cache_clear()


def _texts(*numbers: int) -> list[str]:
    return [json.dumps(record(number), separators=(",", ":")) for number in numbers]


def _documents(cluster: OpenSearch) -> dict[str, str]:
    cluster.indices.refresh(index="log-*", params={"ignore_unavailable": "true"})
    return {
        hit["_id"]: hit["_source"]["event"]["id"]
        for hit in cluster.search(index="log-*", body={"size": 100})["hits"]["hits"]
    }


def test_a_subscription_gives_the_same_documents_as_the_file(operator: Operator, function: Any) -> None:
    function(subscription(*_texts(1, 2)))
    by_subscription = _documents(operator.cluster)
    assert set(by_subscription.values()) == {"1", "2"}
    # What is sent again, and the file with the same records, changes nothing.
    function(subscription(*_texts(1, 2)))
    file = gzip.compress(b'{"Records":[' + ",".join(_texts(1, 2)).encode() + b"]}")
    worked = operator.load(operator.put(file))
    assert (worked["indexed"], worked["duplicates"]) == (0, 2)
    assert _documents(operator.cluster) == by_subscription
    (entry,) = operator.run("load", "find", "event-0")["objects"]
    assert (entry["bucket"], entry["key"]) == (
        "cloudwatch-logs:aws-cloudtrail-logs",
        "123456789012_CloudTrail_us-east-1/2026/11/01/event-0",
    )
    assert (entry["read"], entry["indexed"], entry["loads"], entry["latest"]["duplicates"]) == (2, 2, 2, 2)


def test_a_bad_event_of_a_subscription_is_a_dead_letter_with_its_place(operator: Operator, function: Any) -> None:
    function(subscription(*_texts(1), "no record", *_texts(2)))
    assert set(_documents(operator.cluster).values()) == {"1", "2"}
    operator.cluster.indices.refresh(index="siem-dead-letters-*")
    (hit,) = operator.cluster.search(index="siem-dead-letters-*")["hits"]["hits"]
    letter = hit["_source"]
    assert (letter["bucket"], letter["event_id"], letter["record_number"], letter["raw"]) == (
        "cloudwatch-logs:aws-cloudtrail-logs",
        "event-1",
        2,
        "no record",
    )
    assert letter["key"].startswith("123456789012_CloudTrail_us-east-1/2026/11/01/")


def test_a_subscription_that_the_cluster_does_not_take_raises_and_is_read_from_the_failure_queue(
    operator: Operator, function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = subscription(*_texts(1))
    with monkeypatch.context() as away:
        away.setenv("SIEM_CLUSTER_URL", "http://127.0.0.1:9")
        with pytest.raises(lambda_handler.NotLoadedError):
            function(event)
    # After its last try Lambda puts the event into the queue that is the function's on-failure destination.
    failed = {"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": event}
    operator.sqs.send_message(QueueUrl=operator.url, MessageBody=json.dumps(failed))
    assert operator.load()["indexed"] == 1
    assert set(_documents(operator.cluster).values()) == {"1"}
