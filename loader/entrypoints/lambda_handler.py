"""AWS Lambda. Set the function's handler to ``loader.entrypoints.lambda_handler.handler``.

With an SQS event source, the mapping must have ``ReportBatchItemFailures`` on:
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
A subscription of CloudWatch Logs calls the function asynchronously; it needs an on-failure destination (a queue that
``siem load worker`` or this function reads), since Lambda tries again only twice:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

#: Milliseconds kept back: no message is begun when less is left, so that nothing is cut off in the middle of a request.
_RESERVE_MS = 20_000


class NotLoadedError(Exception):
    """What CloudWatch Logs sent could not be loaded now. Raised so that Lambda tries again; the log says why."""


@cache
def _handler() -> Any:
    """Wire the loader on the first call; warm starts reuse it."""
    from loader.config import read_settings
    from loader.ingest.assemble import assemble, message_handler
    from loader.telemetry import configure_logging

    configure_logging()
    return message_handler(assemble(read_settings()), queue="lambda")


def handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Load what ``event`` brings: an SQS batch, or a message of a CloudWatch Logs subscription.

    Of a batch, the messages that SQS must deliver again are named. ``context`` is Lambda's own
    (``get_remaining_time_in_millis`` and ``aws_request_id`` are used).

    Raises:
        NotLoadedError: a subscription's message must come again.
    """
    if "awslogs" in event:
        if not _handler().handle(context.aws_request_id, json.dumps(event)):
            raise NotLoadedError(f"request {context.aws_request_id} was not loaded")
        return {"batchItemFailures": []}
    messages = [_message(record) for record in event.get("Records", [])]
    handled = _handler().handle_together(messages, go_on=lambda: context.get_remaining_time_in_millis() > _RESERVE_MS)
    failed = [one.id for one, became in zip(messages, handled, strict=True) if became.value != "acknowledged"]
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}


def _message(record: dict[str, Any]) -> Any:
    from loader.ingest.messages import Message

    receives = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
    return Message(record["messageId"], record["body"], receives)
