"""What a queue is told of its messages: several of them in one request, as many as SQS takes.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-batch-api-actions.html
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

log = logging.getLogger(__name__)

#: Messages in one request, at most: of receiving as well as of answering.
MOST: Final = 10


class QueueAnswers:
    """Deletes messages, and changes how long they stay invisible. Safe between threads; never raises.

    What the queue does not take it will find out by itself: the message comes back, and its records are then counted as
    duplicates.
    """

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs = sqs  # a boto3 client: botocore makes its methods at run time
        self._queue_url = queue_url

    def delete(self, receipts: Iterable[str]) -> None:
        """Acknowledge messages, by their receipt handles."""
        self._send("delete_message_batch", ({"ReceiptHandle": receipt} for receipt in receipts))

    def make_visible(self, seconds: Mapping[str, int]) -> None:
        """Let each message, by its receipt handle, be received again after so many seconds from now."""
        entries = ({"ReceiptHandle": receipt, "VisibilityTimeout": delay} for receipt, delay in seconds.items())
        self._send("change_message_visibility_batch", entries)

    def _send(self, action: str, entries: Iterable[dict[str, Any]]) -> None:
        call: Callable[..., dict[str, Any]] = getattr(self._sqs, action)
        coming = iter(entries)
        while part := list(islice(coming, MOST)):
            numbered = [{"Id": str(number), **entry} for number, entry in enumerate(part)]
            try:
                failed = call(QueueUrl=self._queue_url, Entries=numbered).get("Failed", [])
            except (ClientError, BotoCoreError) as error:
                log.warning("the queue did not take an answer", extra={"action": action, "error": str(error)})
                continue
            for one in failed:
                reason = f"{one.get('Code')}: {one.get('Message')}"
                log.warning("the queue did not take an answer", extra={"action": action, "error": reason})
