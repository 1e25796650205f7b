"""What a subscription of CloudWatch Logs sends, and what only looks like it."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.ingest.notification import parse_notification
from loader.ingest.subscription import read_subscription
from loader.source.objects import Broken, Limits, Piece
from loader.source.split import read_pieces

RECORDS = [{"eventVersion": "1.08", "eventID": str(number)} for number in range(3)]
ENVELOPE = {
    "messageType": "DATA_MESSAGE",
    "owner": "123456789012",
    "logGroup": "/aws/cloudtrail/organisation",
    "logStream": "123456789012_CloudTrail_eu-central-1",
    "subscriptionFilters": ["siem"],
    "logEvents": [
        {"id": f"3195310660696698337880902507980421114328961542429EXAMPL{number}", "timestamp": 1432826855000 + number}
        | {"message": json.dumps(record)}
        for number, record in enumerate(RECORDS)
    ],
}
GROUP = "cloudwatch-logs:/aws/cloudtrail/organisation"
KEY = "123456789012_CloudTrail_eu-central-1/2015/05/28/3195310660696698337880902507980421114328961542429EXAMPL0"


def data(content: Any, **changes: Any) -> str:
    body = content if isinstance(content, bytes) else json.dumps({**content, **changes}).encode()
    return b64encode(gzip.compress(body, mtime=0)).decode()


def test_the_place_is_the_group_the_stream_and_the_first_event() -> None:
    read = read_subscription(data(ENVELOPE))
    assert read is not None
    assert (read.ref.bucket, read.ref.key) == (GROUP, KEY)
    assert read.ref.uri == f"{GROUP}/{KEY}"
    assert not read.ref.can_be_read_again
    assert not read.is_control


def test_each_record_comes_out_as_it_was_written_with_its_event_id() -> None:
    read = read_subscription(data(ENVELOPE))
    assert read is not None
    pieces = list(read_pieces([read.content], Limits(), members=True))
    assert [(piece.raw, piece.event_id) for piece in pieces if isinstance(piece, Piece)] == [
        (json.dumps(record).encode(), event["id"])
        for record, event in zip(RECORDS, ENVELOPE["logEvents"], strict=True)  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("what", [None, 17, "not base64!", "é", {"a": 1}])
def test_what_is_not_base64_is_none(what: Any) -> None:
    assert read_subscription(what) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"logGroup":1,"logStream":"s","logEvents":[]}', b'{"logGroup":"g","logStream":"s"}'],
)
def test_what_is_no_envelope_has_a_place_all_the_same(content: bytes) -> None:
    read = read_subscription(data(content))
    again = read_subscription(data(content))
    assert read is not None
    assert read.ref.bucket == "cloudwatch-logs:unknown"
    assert again == read
    assert all(isinstance(piece, Broken) for piece in read_pieces([read.content], Limits(), members=True))


@pytest.mark.parametrize("stamp", [None, "now", -1, True, 10**20, 1.5])
def test_an_event_without_a_usable_time_is_undated(stamp: Any) -> None:
    read = read_subscription(data(ENVELOPE, logEvents=[{"id": "a", "timestamp": stamp, "message": "{}"}]))
    assert read is not None
    assert read.ref.key.endswith("/undated/a")


def test_no_events_at_all_have_a_place() -> None:
    read = read_subscription(data(ENVELOPE, logEvents=[]))
    assert read is not None
    assert read.ref.bucket == GROUP


def test_a_small_bomb_is_not_unpacked_to_learn_its_name() -> None:
    read = read_subscription(data(b'{"logGroup":"' + b"a" * (40 * 2**20) + b'"}'))
    assert read is not None
    assert read.ref.bucket == "cloudwatch-logs:unknown"


@given(st.binary(max_size=200))
def test_nothing_raises(content: bytes) -> None:
    for text in (b64encode(content).decode(), data(content)):
        read_subscription(text)


# --- as a message ---------------------------------------------------------------------------------------------------


def test_the_event_and_the_record_of_a_failed_invocation_are_both_read() -> None:
    event = {"awslogs": {"data": data(ENVELOPE)}}
    failed = {"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": event}
    for message in (event, failed):
        found = parse_notification(json.dumps(message))
        assert found.trouble is None
        assert [sent.ref.key for sent in found.subscriptions] == [KEY]


def test_a_control_message_is_skipped_by_name() -> None:
    found = parse_notification(json.dumps({"awslogs": {"data": data(ENVELOPE, messageType="CONTROL_MESSAGE")}}))
    assert (found.subscriptions, found.skipped, found.trouble) == ([], {"control_message": 1}, None)


@pytest.mark.parametrize("awslogs", [{}, {"data": None}, {"data": "%%"}])
def test_an_event_without_data_is_no_notification(awslogs: Any) -> None:
    assert parse_notification(json.dumps({"awslogs": awslogs})).trouble == "what CloudWatch Logs sent is not base64"
