"""Notifications as others recorded them: the public samples (lambda-promtail, cloud-custodian), read where they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loader.ingest.notification import parse_notification
from loader.source.objects import Limits, ObjectRef, Piece
from loader.source.split import read_pieces

pytestmark = pytest.mark.reference_data

PROMTAIL = "lambda-promtail/testdata"


@pytest.mark.parametrize(
    ("name", "objects", "skipped"),
    [
        (
            "eventbridge-s3-event.json",
            [ObjectRef("bucket", "pizza.txt", None, "8adc5937e635f6c9af646f0b23560fae", 100, "us-east-2")],
            {},
        ),
        ("events/s3-test-event.json", [], {"s3_test_event": 1}),
        ("events/sqs-event.json", [], {"foreign_event": 1}),
        ("events/sns-event.json", [], {"foreign_event": 1}),
        ("events/kinesis-event.json", [], {"foreign_event": 2}),
    ],
)
def test_recorded_notifications(
    reference_data: Path, name: str, objects: list[ObjectRef], skipped: dict[str, int]
) -> None:
    found = parse_notification((reference_data / PROMTAIL / name).read_text(encoding="utf-8"))
    assert (found.objects, found.skipped, found.trouble) == (objects, skipped, None)


def test_keys_of_recorded_s3_events_are_decoded_once(reference_data: Path) -> None:
    for name in ("s3-event.json", "s3-event-generated-tags.json"):
        text = (reference_data / PROMTAIL / "events" / name).read_text(encoding="utf-8")
        for body in (text, json.dumps({"Type": "Notification", "TopicArn": "t", "Message": text})):
            (ref,) = parse_notification(body).objects
            entry = json.loads(text)["Records"][0]["s3"]
            assert ref.bucket == entry["bucket"]["name"]
            assert ref.key == entry["object"]["key"].replace("%20", " ").replace("+", " ").replace("%2B", "+")
            assert (ref.size, ref.etag) == (entry["object"].get("size"), entry["object"].get("eTag"))


def test_a_recorded_subscription_is_unwrapped(reference_data: Path) -> None:
    found = parse_notification(
        (reference_data / PROMTAIL / "events" / "cloudwatch-logs-event.json").read_text(encoding="utf-8")
    )
    (sent,) = found.subscriptions
    assert (found.objects, found.trouble) == ([], None)
    assert sent.ref.bucket == "cloudwatch-logs:testLogGroup"
    assert sent.ref.key.startswith("testLogStream/2015/08/24/eventId1")
    pieces = list(read_pieces([sent.content], Limits(), members=True))
    assert [(piece.raw, piece.event_id) for piece in pieces if isinstance(piece, Piece)] == [
        (b"[ERROR] First test message", "eventId1"),
        (b"[ERROR] Second test message", "eventId2"),
    ]


def test_what_is_no_notification_is_never_taken_for_one(reference_data: Path) -> None:
    for path in sorted((reference_data / "cloud-custodian" / "tests" / "data" / "cwe").glob("*.json")):
        found = parse_notification(path.read_text(encoding="utf-8"))
        assert found.objects == [], path.name
        assert found.trouble or found.skipped, path.name
