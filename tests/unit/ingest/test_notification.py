"""Every form a notification comes in, and everything that only looks like one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.ingest.notification import parse_notification
from loader.source.objects import ObjectRef


def s3_event(key: str = "AWSLogs/a+b%2Bc.json.gz", name: str = "ObjectCreated:Put", **record: Any) -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-central-1",
        "eventName": name,
        "s3": {
            "bucket": {"name": "trail", "arn": "arn:aws:s3:::trail"},
            "object": {"key": key, "size": 12, "eTag": "e", "versionId": "v", "sequencer": "0"},
        },
        **record,
    }


REF = ObjectRef("trail", "AWSLogs/a b+c.json.gz", "v", "e", 12, "eu-central-1")
EVENT_BRIDGE = {
    "version": "0",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "region": "eu-central-1",
    "detail": {
        "bucket": {"name": "trail"},
        "object": {"key": "a b+c%20.gz", "size": 1, "etag": "e", "version-id": "v"},
    },
}


def test_when_the_object_was_written_is_taken_along() -> None:
    listed = parse_notification(json.dumps({"Records": [s3_event(eventTime="2026-11-24T10:00:00.000Z")]}))
    bridged = parse_notification(json.dumps({**EVENT_BRIDGE, "time": "2026-11-24T10:00:00Z"}))
    wrong = parse_notification(json.dumps({"Records": [s3_event(eventTime="soon"), s3_event(eventTime=17)]}))
    assert listed.objects[0].delivered == "2026-11-24T10:00:00.000Z"
    assert bridged.objects[0].delivered == "2026-11-24T10:00:00.000Z"
    assert [ref.delivered for ref in wrong.objects] == [None, None]


def test_an_etag_in_quotes_is_the_etag() -> None:
    event = s3_event()
    event["s3"]["object"]["eTag"] = '"e"'
    assert parse_notification(json.dumps({"Records": [event]})).objects == [REF]


def sns(message: Any) -> dict[str, Any]:
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-central-1:1:t", "Message": json.dumps(message)}


@pytest.mark.parametrize(
    ("message", "objects"),
    [
        ({"Records": [s3_event()]}, [REF]),
        ({"Records": [s3_event(name="s3:ObjectCreated:CompleteMultipartUpload")]}, [REF]),
        ({"Records": [s3_event(), s3_event()]}, [REF, REF]),
        (sns({"Records": [s3_event()]}), [REF]),
        (EVENT_BRIDGE, [ObjectRef("trail", "a b+c%20.gz", "v", "e", 1, "eu-central-1")]),
        (sns(EVENT_BRIDGE), [ObjectRef("trail", "a b+c%20.gz", "v", "e", 1, "eu-central-1")]),
        ({"Records": [s3_event(key="a%252Bb")]}, [ObjectRef("trail", "a%2Bb", "v", "e", 12, "eu-central-1")]),
    ],
    ids=["S3", "s3: prefix", "two records", "SNS", "EventBridge", "SNS EventBridge", "decoded exactly once"],
)
def test_objects_are_found(message: Any, objects: list[ObjectRef]) -> None:
    found = parse_notification(json.dumps(message))
    assert found.objects == objects
    assert found.trouble is None
    assert found.skipped == {}


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "trail"}, "s3_test_event"),
        (sns({"Event": "s3:TestEvent"}), "s3_test_event"),
        ({"Records": [s3_event(name="ObjectRemoved:Delete")]}, "not_object_created"),
        ({"Records": [s3_event(eventSource="aws:sqs")]}, "foreign_event"),
        ({**EVENT_BRIDGE, "detail-type": "Object Deleted"}, "not_object_created"),
    ],
)
def test_events_that_name_nothing_to_load_are_skipped_by_name(message: Any, rule: str) -> None:
    found = parse_notification(json.dumps(message))
    assert found.skipped == {rule: 1}
    assert found.objects == []
    assert found.trouble is None


@pytest.mark.parametrize(
    "body",
    ["", "hello", "17", "[]", "{}", '{"Records": 3}', '{"Records": [3]}', '{"Type":"Notification","Message":"hi"}']
    + [
        json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}]})
        for s3 in (None, {}, {"bucket": 1})
    ]
    + [json.dumps({**EVENT_BRIDGE, "detail": {}})],
)
def test_what_is_no_notification_says_so(body: str) -> None:
    found = parse_notification(body)
    assert found.trouble
    assert found.objects == []


@pytest.mark.parametrize("levels", [7, 8, 100, 900])
def test_what_is_wrapped_too_often_is_no_notification(levels: int) -> None:
    message: Any = {"Records": [s3_event()]}
    for _ in range(levels):
        message = {"requestPayload": message}
    found = parse_notification(json.dumps(message))
    assert (found.objects == [REF]) == (levels < 8)
    assert (found.trouble is None) == (levels < 8)


def test_trouble_in_one_record_keeps_the_others() -> None:
    found = parse_notification(json.dumps({"Records": [3, s3_event()]}))
    assert found.objects == [REF]
    assert found.trouble


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda i: (
            st.lists(i)
            | st.dictionaries(
                st.sampled_from(["Records", "s3", "detail", "source", "Type", "Message", "bucket", "object", "key"]), i
            )
        ),
    )
)
def test_no_message_raises(message: Any) -> None:
    parse_notification(json.dumps(message))
