"""The envelopes in which records travel outside of CloudTrail's own files.

A subscription of CloudWatch Logs, to Firehose and to Lambda alike:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html
An event of EventBridge, one record each:
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html
A document of an integration that keeps the record below ``aws.cloudtrail``.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

#: The head of a document of an integration; the record follows.
WRAPPER = re.compile(rb'\{\s*"aws"\s*:\s*\{\s*"cloudtrail"\s*:\s*(?=\{)')
_DETAIL_TYPE = b'"detail-type"'
_VIA = b' via CloudTrail"'


class _LogEvent(msgspec.Struct):
    message: str
    id: Any = None


class _Envelope(msgspec.Struct, rename="camel"):
    log_events: list[_LogEvent]
    message_type: str = "DATA_MESSAGE"


_decode_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder(_Envelope).decode


def unwrap(raw: bytes) -> list[tuple[bytes, str | None]]:
    """Return each event's message, which is a record as text, and CloudWatch Logs' id of the event.

    There are none in a control message: CloudWatch Logs asks whether the destination can be reached.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError: it is no such envelope.
    """
    envelope = _decode(raw)
    if envelope.message_type == "CONTROL_MESSAGE":
        return []
    return [
        (event.message.encode("utf-8", "surrogatepass"), event.id if isinstance(event.id, str) else None)
        for event in envelope.log_events
    ]


def bridged(keys: dict[str, msgspec.Raw]) -> bytes | None:
    """Return the record inside an event of EventBridge, given by its members; ``None`` if it is no record's event."""
    kind, record = keys.get("detail-type"), keys.get("detail")
    if kind is None or record is None:
        return None
    # "AWS API Call via CloudTrail, AWS Console Sign In via CloudTrail, AWS Insight via CloudTrail", …
    return bytes(record) if bytes(kind).endswith(_VIA) else None


def unbridged(raw: bytes) -> bytes:
    """Return the record inside an event of EventBridge; anything else as it is."""
    if _DETAIL_TYPE not in raw:
        return raw
    try:
        return bridged(_decode_keys(raw)) or raw
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return raw
