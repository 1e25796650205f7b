"""Small objects by the hundred: they share requests to the queue, to S3 and to the cluster, and nothing else."""

from __future__ import annotations

import gzip
import json
import logging
import uuid
from collections import Counter
from typing import Any

import orjson
import pytest
from opensearchpy import OpenSearch

from loader.clock import SystemClock
from loader.config import Settings
from loader.index.templates import Template, apply, plan
from loader.ingest.answers import MOST, QueueAnswers
from loader.ingest.assemble import Assembly, assemble, message_handler
from loader.ingest.backfill import load_all
from loader.ingest.report import Totals
from loader.ingest.worker import QueueOptions, QueueWorker
from loader.local.aws import environment
from loader.source.objects import ObjectRef

pytestmark = pytest.mark.integration

DAY = "2023-07-{:02d}"
KEY = (
    "AWSLogs/123456789012/CloudTrail/us-east-1/2023/07/{:02d}/"
    "123456789012_CloudTrail_us-east-1_202307{:02d}T1145Z_{}.json.gz"
)


class Trail:
    """A bucket, a queue, and a loader of which every request is counted."""

    def __init__(self, aws: Any, settings: Settings, cluster: OpenSearch) -> None:
        name = f"groups-{uuid.uuid4().hex[:12]}"
        self.s3, self.sqs, self.bucket = aws.s3, aws.sqs, name
        self.s3.create_bucket(Bucket=name)
        self.url: str = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        self.cluster = cluster
        self.assembly: Assembly = assemble(settings)
        self.requests: Counter[str] = Counter()
        transport = self.assembly.cluster.transport
        perform = transport.perform_request

        def counted(method: str, url: str, *args: Any, **options: Any) -> Any:
            self.requests[url.rsplit("/", 1)[-1]] += 1
            return perform(method, url, *args, **options)

        transport.perform_request = counted

    def put(self, number: int, records: int, day: int = 10) -> ObjectRef:
        """Write an object and announce it."""
        key = KEY.format(day, day, f"{number:04d}")
        raws = [
            {
                "eventVersion": "1.08",
                "eventTime": f"{DAY.format(day)}T11:{at % 60:02d}:00Z",
                "eventSource": "ec2.amazonaws.com",
                "eventName": "DescribeInstances",
                "eventID": f"{self.bucket}-{number}-{at}",
            }
            for at in range(records)
        ]
        body = gzip.compress(orjson.dumps({"Records": raws}), mtime=0)
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        s3 = {"bucket": {"name": self.bucket}, "object": {"key": key, "size": len(body)}}
        said = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}]}
        self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps(said))
        return ObjectRef(self.bucket, key, size=len(body))

    def work(self, *, workers: int = 1, visibility: int = 300) -> Totals:
        handler = message_handler(self.assembly, queue="groups")
        options = QueueOptions(self.url, workers=workers, drain=True, visibility=visibility)
        return QueueWorker(self.sqs, handler, options, clock=SystemClock()).run()

    def found(self, day: int = 10) -> int:
        index = f"log-aws-cloudtrail-2023.07.{day:02d}"
        self.cluster.indices.refresh(index=index)
        query = {"query": {"prefix": {"event.id": self.bucket}}}
        return int(self.cluster.count(index=index, body=query)["count"])

    def waiting(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)


@pytest.fixture
def trail(
    aws: Any,
    servers: Any,
    clean_cluster: OpenSearch,
    project_templates: list[Template],
    monkeypatch: pytest.MonkeyPatch,
) -> Trail:
    for name, value in environment(servers.aws_endpoint_url).items():
        monkeypatch.setenv(name, value)
    apply(clean_cluster, plan(clean_cluster, project_templates))
    settings = Settings(
        cluster_url=servers.opensearch_url, aws_endpoint_url=servers.aws_endpoint_url, aws_region="us-east-1"
    )
    return Trail(aws, settings, clean_cluster)


def test_small_objects_share_requests(trail: Trail) -> None:
    records = {number: 1 + number % 5 for number in range(60)}
    for number, count in records.items():
        trail.put(number, count)
    totals = trail.work()
    assert (totals.objects, totals.messages, totals.returned) == (60, 60, 0)
    assert (totals.counts.indexed, totals.counts.balanced) == (sum(records.values()), True)
    assert trail.found() == sum(records.values())
    assert trail.waiting() == 0
    # 1, 4, and then ten at a time: each group is one request for its documents and one for the ledger.
    assert trail.requests["_bulk"] <= 2 * (2 + 60 // MOST + 2)


def test_a_second_delivery_is_counted_and_the_ledger_says_so(trail: Trail) -> None:
    refs = [trail.put(number, 3) for number in range(25)]
    first = trail.work()
    again = load_all(trail.assembly.loader, [*refs, refs[0]], workers=1)
    assert (first.counts.indexed, again.totals.counts.duplicates, again.failed) == (75, 78, [])
    trail.cluster.indices.refresh(index="siem-objects-*")
    query = {"size": 100, "query": {"term": {"bucket": trail.bucket}}}
    entries = [hit["_source"] for hit in trail.cluster.search(index="siem-objects-2023.07", body=query)["hits"]["hits"]]
    assert {entry["key"]: entry["loads"] for entry in entries} == {ref.key: 3 if ref is refs[0] else 2 for ref in refs}
    assert all(entry["indexed"] == 3 and entry["latest"]["duplicates"] == 3 for entry in entries)


def test_a_closed_index_holds_only_the_objects_of_its_day(trail: Trail) -> None:
    trail.put(100, 2, day=11)
    trail.work()
    trail.cluster.indices.close(index="log-aws-cloudtrail-2023.07.11")
    for number in range(9):
        trail.put(number, 2, day=11 if number == 4 else 10)
    handler = message_handler(trail.assembly, queue="groups")
    options = QueueOptions(trail.url, workers=1, drain=True)
    worker = QueueWorker(trail.sqs, handler, options, clock=SystemClock())
    worker._rng.randint = lambda _low, _high: 300  # type: ignore[method-assign]  # once is enough
    totals = worker.run()
    assert (totals.objects, totals.counts.indexed, totals.returned) == (8, 16, 1)
    assert trail.found() == 16
    assert trail.waiting() == 1


def test_what_the_queue_does_not_take_is_said_and_stops_nothing(
    aws: Any, trail: Trail, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("loader"), "propagate", True)  # a command run before may have changed it
    for number in range(13):
        trail.sqs.send_message(QueueUrl=trail.url, MessageBody=str(number))
    receipts: list[str] = []
    while len(receipts) < 13:
        answer = trail.sqs.receive_message(QueueUrl=trail.url, MaxNumberOfMessages=10)
        receipts += [message["ReceiptHandle"] for message in answer["Messages"]]
    answers = QueueAnswers(aws.sqs, trail.url)
    with caplog.at_level(logging.WARNING):
        answers.make_visible(dict.fromkeys(receipts, 600))
        answers.make_visible({"no such receipt": 0})
        answers.delete(["no such receipt", *receipts[:12]])
        answers.delete([])
        QueueAnswers(aws.sqs, trail.url + "-gone").delete(receipts)
    assert trail.waiting() == 1
    assert sum("did not take" in entry.message for entry in caplog.records) >= 2
