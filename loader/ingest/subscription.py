"""What a subscription of CloudWatch Logs sends to a Lambda function: where it comes from, and its bytes. Pure.

The event is ``{"awslogs": {"data": …}}``, the data a gzip file in base64, and its content the same envelope that a
subscription puts into S3 by way of Firehose: the splitter unwraps both.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html#LambdaFunctionExample
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from loader.errors import SourceError
from loader.index.identifiers import derived_id
from loader.source.decompress import decompress
from loader.source.objects import LOG_GROUP, ObjectRef

#: Uncompressed bytes read to learn the names. An envelope is far smaller; what is longer is named by its hash.
_PEEK_BYTES = 32 * 2**20
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class _Event(msgspec.Struct):
    id: Any = None
    timestamp: Any = None


class _Head(msgspec.Struct, rename="camel"):
    log_group: str
    log_stream: str
    log_events: list[_Event]
    message_type: str = "DATA_MESSAGE"


_decode_head = msgspec.json.Decoder(_Head).decode


@dataclass(frozen=True, slots=True)
class Subscription:
    """One message. ``content`` is the gzip file; ``is_control`` says that it only asks whether somebody listens."""

    ref: ObjectRef
    content: bytes
    is_control: bool = False


def read_subscription(data: Any) -> Subscription | None:
    """Read ``awslogs.data``; ``None`` if it is not base64. What is wrong inside is for the splitter to say.

    The place is the log group, and as a key the log stream, the day of the first event and its id: the same message
    sent again has the same place.
    """
    if not isinstance(data, str):
        return None
    try:
        content = b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    head = _peek(content)
    if head is None:
        return Subscription(ObjectRef(f"{LOG_GROUP}unknown", derived_id(data), size=len(content)), content)
    first = head.log_events[0] if head.log_events else _Event()
    name = first.id if isinstance(first.id, str) else derived_id(data)
    ref = ObjectRef(f"{LOG_GROUP}{head.log_group}", f"{head.log_stream}/{_day(first)}/{name}", size=len(content))
    return Subscription(ref, content, head.message_type == "CONTROL_MESSAGE")


def _peek(content: bytes) -> _Head | None:
    plain = bytearray()
    try:
        for chunk in decompress([content]):
            plain += chunk
            if len(plain) > _PEEK_BYTES:
                return None
        return _decode_head(plain)
    except (SourceError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _day(event: _Event) -> str:
    """Return ``YYYY/MM/DD`` of an event's time, which CloudWatch Logs gives in milliseconds since 1970."""
    stamp = event.timestamp
    if not isinstance(stamp, int) or isinstance(stamp, bool) or not 0 <= stamp < 253402300800000:
        return "undated"
    return f"{_EPOCH + timedelta(milliseconds=stamp):%Y/%m/%d}"
