"""AWS Lambda with an SQS event source. Set the function's handler to ``loader.entrypoints.lambda_handler.handler``.

The event source mapping must have ``ReportBatchItemFailures`` on:
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

from functools import cache
from typing import Any

#: Milliseconds kept back: no message is begun when less is left, so that nothing is cut off in the middle of a request.
_RESERVE_MS = 20_000


@cache
def _handler() -> Any:
    """Wire the loader on the first call; warm starts reuse it."""
    from loader.config import read_settings
    from loader.ingest.assemble import assemble, message_handler
    from loader.telemetry import configure_logging

    configure_logging()
    return message_handler(assemble(read_settings()), queue="lambda")


def handler(event: dict[str, Any], context: Any) -> dict[str, list[dict[str, str]]]:
    """Load the batch's objects and name the messages that SQS must deliver again.

    ``event`` is an SQS event, ``context`` Lambda's own (``get_remaining_time_in_millis`` is used).
    """
    failed = []
    for record in event.get("Records", []):
        in_time = context.get_remaining_time_in_millis() > _RESERVE_MS
        if not in_time or not _handler().handle(record["messageId"], record["body"]):
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
