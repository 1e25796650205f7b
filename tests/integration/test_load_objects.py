"""S3 → SQS → worker → OpenSearch with input that is bad, hostile or sent twice.

Every case goes the whole way through real parts. What is held each time: nothing raises, every message is acknowledged,
the equation holds, each bad record is one named dead letter, and the good records around it are in the cluster.
"""

from __future__ import annotations

import gzip
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from opensearchpy import OpenSearch

from loader.clock import SystemClock
from loader.config import Settings
from loader.index.templates import Template, apply, plan
from loader.ingest.assemble import Assembly, assemble, aws_client, message_handler
from loader.ingest.report import Totals
from loader.ingest.worker import QueueOptions, QueueWorker
from loader.local.aws import environment
from loader.local.trail import Delivery, create_delivery
from loader.source.fetch import TransientSourceError
from loader.source.objects import ObjectRef

pytestmark = pytest.mark.integration

_KEY = (
    "AWSLogs/123456789012/CloudTrail/us-east-1/2023/07/10/123456789012_CloudTrail_us-east-1_20230710T1145Z_{}.json.gz"
)
_EVENTS = "log-*"
_LETTERS = "siem-dead-letters-*"


def record(number: int, **changes: object) -> dict[str, Any]:
    """A CloudTrail management event; ``changes`` replace keys, and a value of ... removes one."""
    made: dict[str, Any] = {
        "eventVersion": "1.08",
        "userIdentity": {
            "type": "IAMUser",
            "principalId": "AIDAEXAMPLE",
            "arn": "arn:aws:iam::123456789012:user/alice",
            "accountId": "123456789012",
            "accessKeyId": "AKIAIOSFODNN7EXAMPLE",
            "userName": "alice",
        },
        "eventTime": f"2023-07-10T11:{number % 60:02d}:00Z",
        "eventSource": "ec2.amazonaws.com",
        "eventName": "DescribeInstances",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "203.0.113.7",
        "userAgent": "aws-cli/2.13.0",
        "requestParameters": {"maxResults": number},
        "responseElements": None,
        "requestID": str(uuid.UUID(int=2**64 + number)),
        "eventID": str(uuid.UUID(int=number + 1)),
        "readOnly": True,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": "123456789012",
        "eventCategory": "Management",
    }
    made.update(changes)
    return {name: value for name, value in made.items() if value is not ...}


def log_file(*records: object) -> bytes:
    """A log file as CloudTrail delivers it; ``bytes`` are put into the list as they are."""
    raw = [item if isinstance(item, bytes) else orjson.dumps(item) for item in records]
    return gzip.compress(b'{"Records":[' + b",".join(raw) + b"]}", mtime=0)


GOOD = [record(number) for number in range(1, 4)]


@dataclass
class Way:
    """The whole way: a bucket that notifies a queue, a worker that drains it, and the cluster behind."""

    cluster: OpenSearch
    url: str
    s3: Any
    sqs: Any
    assembly: Assembly
    delivery: Delivery

    def put(self, body: bytes, name: str = "a") -> str:
        key = _KEY.format(name)
        self.s3.put_object(Bucket=self.delivery.bucket, Key=key, Body=body)
        return key

    def send(self, body: str) -> None:
        self.sqs.send_message(QueueUrl=self.delivery.queue_url, MessageBody=body)

    def drain(self) -> Totals:
        """Run a worker until the queue is empty, and hold what must be true after every run."""
        options = QueueOptions(self.delivery.queue_url, workers=2, visibility=60, drain=True)
        handler = message_handler(self.assembly, queue=self.delivery.bucket)
        totals = QueueWorker(self.sqs, handler, options, clock=SystemClock(), rng=random.Random(1)).run()
        assert totals.returned == 0, "every message must be dealt with at once"
        assert totals.counts.balanced
        assert self.left_in_queue() == 0, "every message must be acknowledged"
        return totals

    def left_in_queue(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.delivery.queue_url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def documents(self) -> list[dict[str, Any]]:
        return self.hits(_EVENTS)

    def letters(self) -> list[dict[str, Any]]:
        return [hit["_source"] for hit in self.hits(_LETTERS)]

    def reasons(self) -> Counter[str]:
        return Counter(letter["reason"] for letter in self.letters())

    def indices(self) -> set[str]:
        return set(self.cluster.indices.get(index=_EVENTS))

    def ledger(self) -> list[dict[str, Any]]:
        return [hit["_source"] for hit in self.hits("siem-objects-*")]

    def hits(self, pattern: str) -> list[dict[str, Any]]:
        self.cluster.indices.refresh(index=pattern, params={"ignore_unavailable": "true"})
        answer = self.cluster.search(
            index=pattern, body={"size": 1000, "query": {"match_all": {}}}, params={"ignore_unavailable": "true"}
        )
        found: list[dict[str, Any]] = answer["hits"]["hits"]
        return found


@pytest.fixture(scope="module")
def cluster(opensearch_client: OpenSearch, project_templates: list[Template]) -> OpenSearch:
    """A cluster with this project's templates; applied once, since only indices change here."""
    apply(opensearch_client, plan(opensearch_client, project_templates))
    return opensearch_client


@pytest.fixture
def way(cluster: OpenSearch, aws_endpoint: str, opensearch_url: str, monkeypatch: pytest.MonkeyPatch) -> Way:
    cluster.indices.delete(index="log-*,siem-*", params={"expand_wildcards": "all", "ignore_unavailable": "true"})
    for name, value in environment(aws_endpoint).items():
        monkeypatch.setenv(name, value)
    settings = Settings(cluster_url=opensearch_url, aws_endpoint_url=aws_endpoint, aws_region="us-east-1")
    s3, sqs = aws_client(settings, "s3"), aws_client(settings, "sqs")
    name = f"load-objects-{uuid.uuid4().hex[:12]}"
    delivery = create_delivery(s3, sqs, bucket=name, queue=name, region="us-east-1")
    made = Way(cluster, opensearch_url, s3, sqs, assemble(settings), delivery)
    # S3 announces the notification itself with a test event; some emulators do too.
    made.drain()
    return made


def test_a_good_file_is_loaded_and_in_the_ledger(way: Way) -> None:
    key = way.put(log_file(*GOOD))
    totals = way.drain()
    assert (totals.counts.read, totals.counts.indexed) == (3, 3)
    assert len(way.documents()) == 3
    (entry,) = way.ledger()
    assert (entry["key"], entry["outcome"], entry["read"], entry["balanced"]) == (key, "loaded", 3, True)


def test_the_same_load_twice_gives_duplicates_only(way: Way) -> None:
    key = way.put(log_file(*GOOD))
    way.drain()
    before = {hit["_id"]: hit["_source"] for hit in way.documents()}
    way.put(log_file(*GOOD))
    again = way.drain()
    assert (again.counts.read, again.counts.indexed, again.counts.duplicates) == (3, 0, 3)
    assert {hit["_id"]: hit["_source"] for hit in way.documents()} == before
    (entry,) = way.ledger()
    assert (entry["key"], entry["loads"], entry["indexed"], entry["latest"]["duplicates"]) == (key, 2, 3, 3)


class Recorded:
    """A transport that remembers the paths it was asked for, and the bytes that went there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, client: OpenSearch) -> None:
        self.paths: Counter[str] = Counter()
        perform = client.transport.perform_request

        def perform_request(method: str, path: str, *args: Any, **options: Any) -> Any:
            self.paths[path] += 1
            return perform(method, path, *args, **options)

        monkeypatch.setattr(client.transport, "perform_request", perform_request)


def test_of_records_that_are_there_no_document_is_sent_again(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    many = log_file(*[record(number) for number in range(300)])
    way.put(many)
    assert way.drain().counts.indexed == 300
    sent = Recorded(monkeypatch, way.assembly.cluster)
    way.put(many, "b")  # as another trail would deliver it: nothing was refreshed since
    again = way.drain()
    assert (again.counts.read, again.counts.indexed, again.counts.duplicates) == (300, 0, 300)
    assert not [path for path in sent.paths if path.startswith("/log-") and path.endswith("/_bulk")]
    entry = next(entry for entry in way.ledger() if entry["key"].endswith("_b.json.gz"))
    assert (entry["duplicates"], entry["first_event"]) == (300, "2023-07-10T11:00:00Z")
    assert entry["last_event"] == "2023-07-10T11:59:00Z"


def test_what_is_missing_among_records_that_are_there_is_loaded(way: Way) -> None:
    many = log_file(*[record(number) for number in range(300)])
    way.put(many)
    way.drain()
    before = {hit["_id"]: hit["_source"] for hit in way.documents()}
    gone = sorted(before)[::7]
    for identifier in gone:
        way.cluster.delete(index="log-aws-cloudtrail-2023.07.10", id=identifier)
    way.put(many)
    again = way.drain()
    assert (again.counts.indexed, again.counts.duplicates) == (len(gone), 300 - len(gone))
    assert {hit["_id"] for hit in way.documents()} == set(before)


def test_sessions_that_are_missing_are_written_though_the_events_are_there(way: Way) -> None:
    issuing = [
        record(
            number,
            eventSource="sts.amazonaws.com",
            eventName="AssumeRole",
            requestParameters={"roleArn": "arn:aws:iam::123456789012:role/r", "roleSessionName": f"s{number}"},
            responseElements={"credentials": {"accessKeyId": f"ASIA{number:016d}"}},
        )
        for number in range(100)
    ]
    way.put(log_file(*issuing))
    way.drain()
    way.cluster.indices.delete(index="siem-sessions-*", params={"expand_wildcards": "all"})
    way.put(log_file(*issuing))
    assert way.drain().counts.duplicates == 100
    assert len(way.hits("siem-sessions-*")) == 100


# --- objects that are no log file ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        pytest.param(b"these are no log records", {"not_json"}, id="neither gzip nor JSON"),
        pytest.param(b"\x1f\x8b\x08\x00" + b"\xff" * 200, {"bad_gzip"}, id="gzip magic and nothing behind it"),
        pytest.param(log_file(*GOOD)[:-12], {"truncated_gzip", "truncated"}, id="gzip cut off"),
        pytest.param(gzip.compress(b'{"Records": oops}'), {"not_json", "no_records"}, id="broken JSON"),
        pytest.param(gzip.compress(b'{"Records":[{"eventVersion":'), {"truncated"}, id="JSON cut off"),
        pytest.param(b"", {"empty"}, id="empty object"),
        pytest.param(gzip.compress(b""), {"empty"}, id="empty content"),
        pytest.param(gzip.compress(b'{"configurationItems":[]}'), {"no_records"}, id="JSON without Records"),
        pytest.param(gzip.compress(b'{"Records":{"a":1}}'), {"no_records"}, id="Records is no list"),
        pytest.param(b"\x00" * 4096, {"not_json"}, id="zeros"),
    ],
)
def test_an_object_that_is_no_log_file_is_a_named_dead_letter(way: Way, body: bytes, reasons: set[str]) -> None:
    bad = way.put(body, "bad")
    way.put(log_file(*GOOD), "good")
    totals = way.drain()
    assert totals.counts.dead_lettered > 0
    letters = [letter for letter in way.letters() if letter["key"] == bad]
    assert len(letters) == totals.counts.dead_lettered
    assert {letter["reason"] for letter in letters} <= reasons
    good = [hit for hit in way.documents() if hit["_source"]["event"].get("id") in {one["eventID"] for one in GOOD}]
    assert len(good) == 3


def test_a_file_with_an_empty_list_is_loaded_with_nothing_in_it(way: Way) -> None:
    way.put(gzip.compress(b'{"Records":[]}'))
    totals = way.drain()
    assert (totals.objects, totals.counts.read, totals.counts.dead_lettered) == (1, 0, 0)


def test_an_object_that_is_gone_is_parked(way: Way) -> None:
    key = way.put(log_file(*GOOD))
    way.s3.delete_object(Bucket=way.delivery.bucket, Key=key)
    totals = way.drain()
    assert totals.parked == Counter(missing=1)
    assert way.reasons() == Counter(missing=1)
    (entry,) = way.ledger()
    assert (entry["outcome"], entry["reason"]) == ("parked", "missing")


def test_a_stream_that_breaks_is_no_damage_of_the_object(way: Way) -> None:
    """What did not arrive must neither be parked nor acknowledged: the object is loaded whole another time."""
    body = log_file(*GOOD)

    def broken(ref: ObjectRef) -> Iterator[bytes]:
        yield body[:40]
        raise TransientSourceError("the stream ended early", where=ref.uri)

    settings = Settings(cluster_url=way.url)
    ref = ObjectRef(way.delivery.bucket, _KEY.format("broken"))
    with pytest.raises(TransientSourceError):
        assemble(settings, fetch=broken).loader.load(ref)
    assert way.letters() == []
    assert way.ledger() == []
    assert assemble(settings, fetch=lambda _: iter([body])).loader.load(ref).counts.read == 3
    assert len(way.documents()) == 3


# --- records that are none ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"17", id="a number"),
        pytest.param(b'"text"', id="a string"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[1,2]", id="a list"),
        pytest.param(record(9, eventTime=...), id="no eventTime"),
        pytest.param(record(9, eventTime=None), id="eventTime is null"),
        pytest.param(record(9, eventTime=1688989500), id="eventTime is a number"),
        pytest.param(record(9, eventTime="yesterday"), id="eventTime is no time"),
        pytest.param(record(9, eventTime="2023-02-30T11:45:00Z"), id="eventTime is no date"),
        pytest.param(b"{}", id="an empty object"),
        pytest.param(b'{"eventVersion":"1.08","eventName":"\xff\xfe"}', id="not UTF-8"),
    ],
)
def test_a_record_that_is_none_is_dead_lettered_alone(way: Way, bad: object) -> None:
    key = way.put(log_file(GOOD[0], bad, *GOOD[1:]))
    totals = way.drain()
    assert (totals.counts.read, totals.counts.indexed, totals.counts.dead_lettered) == (4, 3, 1)
    (letter,) = way.letters()
    assert (letter["key"], letter["record_number"]) == (key, 2)
    assert letter["reason"]
    assert letter["raw"]
    assert len(way.documents()) == 3


# --- messages -----------------------------------------------------------------------------------------------------


def test_the_test_event_is_skipped_by_name(way: Way) -> None:
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": way.delivery.bucket}
    way.send(orjson.dumps(test_event).decode())
    way.put(log_file(*GOOD))
    totals = way.drain()
    assert totals.skipped == Counter(s3_test_event=1)
    assert totals.counts.indexed == 3
    assert way.letters() == []


@pytest.mark.parametrize(
    "body",
    ["hello", "[]", "{}", '{"Records":[17]}', '{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put"}]}'],
)
def test_a_message_that_is_no_notification_is_parked(way: Way, body: str) -> None:
    way.send(body)
    way.put(log_file(*GOOD))
    totals = way.drain()
    assert totals.parked == Counter(not_a_notification=1)
    assert totals.counts.indexed == 3
    (letter,) = way.letters()
    assert (letter["reason"], letter["stage"], letter["raw"]) == ("not_a_notification", "message", body)


def test_a_notification_of_something_else_is_skipped_by_name(way: Way) -> None:
    removed = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectRemoved:Delete"}]}
    foreign = {"Records": [{"eventSource": "aws:codecommit", "eventName": "TriggerEventTest"}]}
    for body in (removed, foreign):
        way.send(orjson.dumps(body).decode())
    assert way.drain().skipped == Counter(not_object_created=1, foreign_event=1)


# --- input that was made to win -----------------------------------------------------------------------------------


def _nested(depth: int, opening: bytes = b'{"a":', closing: bytes = b"}") -> bytes:
    return opening * depth + b"1" + closing * depth


def _with_parameters(number: int, parameters: bytes) -> bytes:
    marked = orjson.dumps(record(number, requestParameters="PARAMETERS"))
    return marked.replace(b'"PARAMETERS"', parameters)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(_nested(5000), id="objects"),
        pytest.param(_nested(5000, b"[", b"]"), id="lists"),
        pytest.param(_nested(900), id="objects 900 deep"),
        pytest.param(orjson.dumps({"policyDocument": _nested(5000).decode()}), id="objects inside a string"),
    ],
)
def test_deep_nesting_does_not_reach_the_node(way: Way, payload: bytes) -> None:
    way.put(log_file(GOOD[0], _with_parameters(9, payload), *GOOD[1:]))
    totals = way.drain()
    assert totals.counts.read == 4
    assert totals.counts.indexed + totals.counts.dead_lettered == 4
    assert len(way.documents()) == totals.counts.indexed >= 3
    assert len(way.letters()) == totals.counts.dead_lettered
    assert way.cluster.cluster.health()["number_of_nodes"] == 1


def test_forged_times_do_not_make_an_index_a_day(way: Way) -> None:
    times = [f"{year:04d}-01-{day:02d}T00:00:00Z" for year in (1970, 9999, 2150) for day in range(1, 29)]
    times += ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z"]
    way.put(log_file(*GOOD, *[record(100 + number, eventTime=time) for number, time in enumerate(times)]))
    totals = way.drain()
    assert totals.counts.read == len(times) + 3
    assert totals.counts.indexed + totals.counts.dead_lettered == len(times) + 3
    assert len(way.indices()) <= 3
    assert len(way.documents()) == totals.counts.indexed


def test_long_ids_are_no_way_to_refuse_a_whole_batch(way: Way) -> None:
    bad = [record(9, eventID="x" * 600), record(10, eventID="\N{SNOWMAN}" * 600), record(11, requestID="y" * 600)]
    way.put(log_file(GOOD[0], *bad, *GOOD[1:]))
    totals = way.drain()
    assert totals.counts.read == 6
    assert totals.counts.indexed + totals.counts.dead_lettered == 6
    assert len(way.documents()) == totals.counts.indexed >= 3


ACTION = '{"create":{"_index":"log-aws-cloudtrail-1999.01.01","_id":"forged"}}'
FORGED = '{"@timestamp":"1999-01-01T00:00:00Z","event":{"action":"Forged"}}'


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(
            _with_parameters(9, orjson.dumps({"comment": f"a\n{ACTION}\n{FORGED}\n"})), id="newlines inside a string"
        ),
        pytest.param(
            _with_parameters(9, b'{"a":1}\n' + ACTION.encode() + b"\n" + FORGED.encode() + b"\n"),
            id="action lines behind the payload",
        ),
        pytest.param(
            orjson.dumps(record(9), option=orjson.OPT_INDENT_2).replace(b"\n", b"\r\n"), id="pretty-printed record"
        ),
        pytest.param(
            _with_parameters(9, b'{"a":\n' + ACTION.encode() + b",\n" + b'"b":' + FORGED.encode() + b"\n}"),
            id="action lines as values",
        ),
        pytest.param(_with_parameters(9, b'"a\nb"'), id="a raw newline inside a string"),
    ],
)
def test_what_is_in_a_record_never_becomes_an_action_line(way: Way, hostile: bytes) -> None:
    way.put(log_file(GOOD[0], hostile, *GOOD[1:]))
    totals = way.drain()
    assert totals.counts.balanced
    assert totals.counts.indexed >= 3
    hits = way.documents()
    assert len(hits) == totals.counts.indexed
    assert all(hit["_id"] != "forged" for hit in hits)
    assert not any("1999" in name for name in way.indices())


def test_keys_of_40_000_characters_are_kept_or_parked(way: Way) -> None:
    long = "k" * 40_000
    bad = [
        record(9, requestParameters={long: 1}),
        record(10, requestParameters={"a": long}),
        record(11, **{long: "value"}),
        record(12, userAgent=long),
        record(13, eventName=long),
        record(14, errorMessage=long, errorCode=long),
        record(15, requestParameters={"a": "\N{SNOWMAN}" * 40_000}),
        record(16, userIdentity={"type": "IAMUser", "arn": long, "userName": long, "accountId": long}),
    ]
    way.put(log_file(GOOD[0], *bad, *GOOD[1:]))
    totals = way.drain()
    assert totals.counts.read == 11
    assert totals.counts.indexed + totals.counts.dead_lettered == 11
    assert len(way.documents()) == totals.counts.indexed >= 3
    assert len(way.letters()) == totals.counts.dead_lettered


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(_with_parameters(9, b'{"a":1,"a":2}'), id="in the payload"),
        pytest.param(_with_parameters(9, b'{"a":{"b":1,"b":{"c":2}}}'), id="deeper in the payload"),
        pytest.param(_with_parameters(9, rb'{"a":1,"\u0061":2}'), id="one of them escaped"),
        pytest.param(orjson.dumps(record(9))[:-1] + b',"eventName":"Another"}', id="at the top"),
        pytest.param(orjson.dumps(record(9))[:-1] + b',"unknown":1,"unknown":2}', id="unknown, at the top"),
    ],
)
def test_duplicate_keys_take_nothing_along(way: Way, bad: bytes) -> None:
    way.put(log_file(GOOD[0], bad, *GOOD[1:]))
    totals = way.drain()
    assert totals.counts.read == 4
    assert totals.counts.indexed + totals.counts.dead_lettered == 4
    assert len(way.documents()) == totals.counts.indexed >= 3


def test_fields_of_the_wrong_type_take_nothing_along(way: Way) -> None:
    wrong: list[Any] = [17, 1.5, True, [], {}, ["a", {"b": 1}], {"a": {"b": 1}}, "\x00", "", "AWS Internal"]
    names = ["userIdentity", "sourceIPAddress", "eventName", "readOnly", "resources", "requestParameters", "tlsDetails"]
    bad = [
        record(100 + 100 * row + column, **{name: value})
        for row, name in enumerate(names)
        for column, value in enumerate(wrong)
    ]
    for number in range(0, len(bad), 10):  # small files: 5% of one type in one object would be held back as our mistake
        way.put(log_file(*bad[number : number + 10]), f"wrong{number}")
    way.put(log_file(*GOOD), "good")
    totals = way.drain()
    assert totals.counts.read == len(bad) + 3
    assert totals.counts.indexed + totals.counts.dead_lettered == totals.counts.read
    assert len(way.documents()) == totals.counts.indexed
    assert len(way.letters()) == totals.counts.dead_lettered


def test_a_decompression_bomb_ends_as_a_dead_letter(way: Way) -> None:
    body = gzip.compress(b'{"Records":[{"eventVersion":"' + b"\0" * (80 * 2**20) + b'"}]}', compresslevel=1)
    assert len(body) < 2**20
    way.put(body, "bomb")
    way.put(log_file(*GOOD), "good")
    totals = way.drain()
    assert totals.counts.indexed == 3
    assert totals.counts.dead_lettered >= 1


def test_data_behind_the_gzip_member_is_named_and_not_loaded(way: Way) -> None:
    way.put(log_file(*GOOD) + log_file(record(9)))
    totals = way.drain()
    assert totals.counts.indexed == 3
    assert way.reasons() == Counter(trailing_data=1)
