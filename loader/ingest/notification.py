"""Messages → the objects they announce. Pure.

Forms: S3 event notifications (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html),
EventBridge's "Object Created", and what CloudTrail itself tells the SNS topic of a trail; all of them as they are or
wrapped by SNS. Besides, what a subscription of CloudWatch Logs sends to a Lambda function, itself or through Kinesis,
and any of these in the record of a failed invocation that Lambda puts into a queue.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

import orjson

from loader.clock import rfc3339
from loader.ingest.lag import parse
from loader.ingest.subscription import Subscription, read_subscription
from loader.source.objects import ObjectRef


@dataclass(slots=True)
class Notification:
    """What one message says. ``skipped`` counts events by the name of the rule that skips them.

    ``trouble`` is set when the message is no notification at all: it is parked, never dropped.
    """

    objects: list[ObjectRef] = field(default_factory=list)
    #: What CloudWatch Logs sent, content and all.
    subscriptions: list[Subscription] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    trouble: str | None = None

    def skip(self, rule: str) -> None:
        """Count one event that names nothing to load."""
        self.skipped[rule] = self.skipped.get(rule, 0) + 1


#: What an etag may hold (RFC 9110, section 8.8.3): anything else would not be sent as a header.
_ETAG = re.compile(r"[\x21\x23-\x7e]{1,1024}")
_LARGEST = 2**63
#: S3's event in EventBridge's in SNS's in what Lambda says of a failed call is four.
_MOST_WRAPPINGS = 8
#: What CloudTrail itself says to the SNS topic of a trail, before its first delivery.
_TRAIL_GREETING = "CloudTrail validation message."
#: What a topic says to a queue or a function about itself.
#: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
_TOPIC_TALK = frozenset({"SubscriptionConfirmation", "UnsubscribeConfirmation"})


def parse_notification(body: str) -> Notification:
    """Read the body of a message, or what calls a function. Never raises: what cannot be read is in ``trouble``."""
    found = Notification()
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if body.strip() == _TRAIL_GREETING:  # SNS delivers it raw
            found.skip("trail_greeting")
        else:
            found.trouble = f"the message is not JSON: {error}"
        return found
    _read(message, found, _MOST_WRAPPINGS)
    return found


def _read(message: Any, found: Notification, room: int) -> None:
    """Read a message that came as JSON; it may be wrapped so many times."""
    if not room:
        found.trouble = "the message is wrapped too often"
    elif not isinstance(message, dict):
        found.trouble = "the message is not a JSON object"
    elif message.get("Type") == "Notification":
        _read_sns(message.get("Message"), found, room)
    elif isinstance(message.get("TopicArn"), str) and str(message.get("Type")) in _TOPIC_TALK:
        found.skip("topic_talk")
    elif message.get("Event") == "s3:TestEvent":
        found.skip("s3_test_event")
    elif isinstance(message.get("awslogs"), dict):
        _read_subscription(message["awslogs"].get("data"), found)
    elif isinstance(message.get("requestPayload"), dict):
        # What Lambda puts into a queue about a failed call: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        _read(message["requestPayload"], found, room - 1)
    elif isinstance(message.get("Records"), list):
        _read_records(message["Records"], found, room)
    elif isinstance(message.get("s3ObjectKey"), list):
        _read_trail_delivery(message, found)
    elif isinstance(message.get("detail-type"), str) and isinstance(message.get("source"), str):
        _read_event_bridge(message, found)
    else:
        found.trouble = "the message is no S3 notification"


def _read_sns(text: Any, found: Notification, room: int) -> None:
    if not isinstance(text, str):
        found.trouble = "SNS wraps nothing"
        return
    if text.strip() == _TRAIL_GREETING:
        found.skip("trail_greeting")
        return
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        found.trouble = f"what SNS wraps is not JSON: {error}"
    else:
        _read(message, found, room - 1)


def _read_records(records: list[Any], found: Notification, room: int) -> None:
    for record in records:
        if not isinstance(record, dict):
            found.trouble = "a record of the notification is not an object"
            continue
        source = record.get("eventSource") or record.get("EventSource")
        name = str(record.get("eventName", ""))
        if source == "aws:sns" and isinstance(record.get("Sns"), dict):
            _read_sns(record["Sns"].get("Message"), found, room)
        elif source == "aws:kinesis" and isinstance(record.get("kinesis"), dict):
            _read_subscription(record["kinesis"].get("data"), found)
        elif source != "aws:s3":
            found.skip("foreign_event")
        elif not name.removeprefix("s3:").startswith("ObjectCreated:"):
            found.skip("not_object_created")
        else:
            _take(_s3_ref(record), "a record of the notification names no bucket or key", found)


def _take(ref: ObjectRef | None, trouble: str, found: Notification) -> None:
    if ref is None:
        found.trouble = trouble
    else:
        found.objects.append(ref)


def _read_trail_delivery(message: dict[str, Any], found: Notification) -> None:
    """Read what CloudTrail itself tells the SNS topic of a trail: a bucket, and the keys as they are.

    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/configure-cloudtrail-to-send-notifications.html
    """
    for key in message["s3ObjectKey"]:
        ref = _ref(message.get("s3Bucket"), {"key": key}, None, None, decode=False)
        _take(ref, "CloudTrail's notification names no bucket or key", found)


def _read_subscription(data: Any, found: Notification) -> None:
    read = read_subscription(data)
    if read is None:
        found.trouble = "what CloudWatch Logs sent is not base64"
    elif read.is_control:
        found.skip("control_message")
    else:
        found.subscriptions.append(read)


def _s3_ref(record: dict[str, Any]) -> ObjectRef | None:
    entry = record.get("s3")
    if not isinstance(entry, dict):
        return None
    bucket, item = entry.get("bucket"), entry.get("object")
    if not isinstance(bucket, dict) or not isinstance(item, dict):
        return None
    # Keys come form-encoded ("a b+c" as "a+b%2Bc") and are decoded here, exactly once.
    return _ref(bucket.get("name"), item, record.get("awsRegion"), record.get("eventTime"), decode=True)


def _read_event_bridge(message: dict[str, Any], found: Notification) -> None:
    if message["source"] != "aws.s3" or message["detail-type"].endswith("via CloudTrail"):
        found.skip("foreign_event")
        return
    if message["detail-type"] != "Object Created":
        found.skip("not_object_created")
        return
    detail = message.get("detail")
    bucket, item = (detail.get("bucket"), detail.get("object")) if isinstance(detail, dict) else (None, None)
    ref = None
    if isinstance(bucket, dict) and isinstance(item, dict):
        # EventBridge sends keys as they are.
        ref = _ref(bucket.get("name"), item, message.get("region"), message.get("time"), decode=False)
    _take(ref, "the event names no bucket or key", found)


def _ref(bucket: Any, item: dict[str, Any], region: Any, written: Any, *, decode: bool) -> ObjectRef | None:
    key = item.get("key")
    if not isinstance(bucket, str) or not isinstance(key, str) or not bucket or not key:
        return None
    version, etag = item.get("versionId") or item.get("version-id"), item.get("eTag") or item.get("etag")
    size = item.get("size")
    return ObjectRef(
        bucket=bucket,
        key=unquote_plus(key) if decode else key,
        version_id=version if isinstance(version, str) else None,
        etag=_etag(etag),
        size=size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < _LARGEST else None,
        region=region if isinstance(region, str) else None,
        delivered=_moment(written),
    )


def _etag(said: Any) -> str | None:
    etag = said.strip('"') if isinstance(said, str) else ""
    return etag if _ETAG.fullmatch(etag) else None


def _moment(said: Any) -> str | None:
    """Return a time as the ledger takes it: written anew, since others write times that Python reads as well."""
    moment = parse(said) if isinstance(said, str) else None
    try:
        return rfc3339(moment) if moment is not None else None
    except (OverflowError, ValueError):
        return None
