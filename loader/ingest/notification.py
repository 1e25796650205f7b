"""SQS message bodies → the objects they announce. Pure.

Forms: S3 event notifications (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html),
the same wrapped by SNS or delivered raw, and EventBridge's "Object Created". Besides, what a subscription of CloudWatch
Logs sends to a Lambda function, alone or in the record of a failed invocation that Lambda puts into a queue
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

import orjson

from loader.ingest.lag import seconds_between
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


def parse_notification(body: str) -> Notification:
    """Read the body of an SQS message. Never raises: what cannot be read is in ``trouble``."""
    found = Notification()
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        found.trouble = f"the message is not JSON: {error}"
        return found
    message = _unwrap_sns(message)
    if not isinstance(message, dict):
        found.trouble = "the message is not a JSON object"
    elif message.get("Event") == "s3:TestEvent":
        found.skip("s3_test_event")
    elif isinstance(message.get("awslogs"), dict):
        _read_subscription(message["awslogs"], found)
    elif isinstance(message.get("requestPayload"), dict) and isinstance(message["requestPayload"].get("awslogs"), dict):
        _read_subscription(message["requestPayload"]["awslogs"], found)
    elif isinstance(message.get("Records"), list):
        _read_s3_records(message["Records"], found)
    elif message.get("source") == "aws.s3" and isinstance(message.get("detail"), dict):
        _read_event_bridge(message, found)
    else:
        found.trouble = "the message is no S3 notification"
    return found


def _unwrap_sns(message: Any) -> Any:
    if isinstance(message, dict) and message.get("Type") == "Notification" and isinstance(message.get("Message"), str):
        try:
            return orjson.loads(message["Message"])
        except orjson.JSONDecodeError:
            return message
    return message


def _read_s3_records(records: list[Any], found: Notification) -> None:
    for record in records:
        if not isinstance(record, dict):
            found.trouble = "a record of the notification is not an object"
            continue
        name = str(record.get("eventName", ""))
        if record.get("eventSource") != "aws:s3":
            found.skip("foreign_event")
        elif not name.removeprefix("s3:").startswith("ObjectCreated:"):
            found.skip("not_object_created")
        else:
            ref = _s3_ref(record)
            if ref is None:
                found.trouble = "a record of the notification names no bucket or key"
            else:
                found.objects.append(ref)


def _read_subscription(awslogs: dict[str, Any], found: Notification) -> None:
    read = read_subscription(awslogs.get("data"))
    if read is None:
        found.trouble = "awslogs.data is not base64"
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
    if message.get("detail-type") != "Object Created":
        found.skip("not_object_created")
        return
    detail = message["detail"]
    bucket, item = detail.get("bucket"), detail.get("object")
    ref = None
    if isinstance(bucket, dict) and isinstance(item, dict):
        # EventBridge sends keys as they are.
        ref = _ref(bucket.get("name"), item, message.get("region"), message.get("time"), decode=False)
    if ref is None:
        found.trouble = "the event names no bucket or key"
    else:
        found.objects.append(ref)


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
        etag=etag.strip('"') or None if isinstance(etag, str) else None,
        size=size if isinstance(size, int) and not isinstance(size, bool) else None,
        region=region if isinstance(region, str) else None,
        delivered=written if isinstance(written, str) and seconds_between(written, written) == 0 else None,
    )
