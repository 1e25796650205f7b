"""The envelope in which a subscription of CloudWatch Logs sends log events, to Firehose and to Lambda alike.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html
"""

from __future__ import annotations

from typing import Any

import msgspec


class _LogEvent(msgspec.Struct):
    message: str
    id: Any = None


class _Envelope(msgspec.Struct, rename="camel"):
    log_events: list[_LogEvent]
    message_type: str = "DATA_MESSAGE"


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
