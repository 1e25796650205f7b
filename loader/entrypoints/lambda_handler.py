"""AWS Lambda. Set the function's handler to ``loader.entrypoints.lambda_handler.handler``.

With an SQS event source, the mapping must have ``ReportBatchItemFailures`` on:
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
EventBridge, SNS, S3 and subscriptions of CloudWatch Logs call the function asynchronously; it then needs an on-failure
destination (a queue that ``siem load worker`` or this function reads), since Lambda tries again only twice:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

#: Milliseconds in which no other object is begun, and those in which the answer must be on its way.
_RESERVE_MS, _ANSWER_MS = 20_000, 3_000


class NotLoadedError(Exception):
    """What came without a queue could not be loaded now. Raised so that Lambda tries again; the log says why."""


@cache
def _handler() -> Any:
    """Wire the loader on the first call; warm starts reuse it."""
    from loader.config import read_settings
    from loader.ingest.assemble import assemble, message_handler
    from loader.telemetry import configure_logging

    configure_logging()
    return message_handler(assemble(read_settings()), queue="lambda")


def handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Load what ``event`` brings: an SQS batch, or anything else that announces objects or holds records.

    Of a batch, the messages that SQS must deliver again are named. What comes without a queue (EventBridge, SNS, S3
    itself, a subscription of CloudWatch Logs) is one message. ``context`` is Lambda's own
    (``get_remaining_time_in_millis`` and ``aws_request_id`` are used).

    Raises:
        NotLoadedError: what came without a queue must come again.
    """
    from loader.ingest.allowance import Allowance
    from loader.ingest.messages import Handled, Message

    allowance = Allowance(
        lambda: context.get_remaining_time_in_millis() > _RESERVE_MS,
        lambda: (context.get_remaining_time_in_millis() - _ANSWER_MS) / 1000,
    )
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list) or not all(map(_is_message, records)):
        message = Message(context.aws_request_id, json.dumps(event))
        if _handler().handle_together([message], allowance) != [Handled.DONE]:
            raise NotLoadedError(f"request {context.aws_request_id} was not loaded")
        return {"batchItemFailures": []}
    messages = [Message(record["messageId"], record["body"], _receives(record)) for record in records]
    handled = _handler().handle_together(messages, allowance)
    failed = [one.id for one, became in zip(messages, handled, strict=True) if became is not Handled.DONE]
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}


def _is_message(record: Any) -> bool:
    """Tell whether an entry of a batch is SQS's."""
    return isinstance(record, dict) and all(isinstance(record.get(name), str) for name in ("messageId", "body"))


def _receives(record: dict[str, Any]) -> int:
    return int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
