"""Keep messages invisible to other workers for as long as they are in work here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

log = logging.getLogger(__name__)


class VisibilityKeeper:
    """Extends the visibility timeout of kept messages at half of it, from a thread of its own.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
    """

    def __init__(self, sqs: Any, queue_url: str, seconds: int) -> None:
        self._sqs = sqs  # a boto3 client: botocore makes its methods at run time
        self._queue_url = queue_url
        self._seconds = seconds
        self._kept: set[str] = set()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._extend, name="visibility", daemon=True)

    def __enter__(self) -> VisibilityKeeper:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    @contextmanager
    def keep(self, receipt: str) -> Iterator[None]:
        """Keep one message invisible inside the ``with`` block."""
        with self._lock:
            self._kept.add(receipt)
        try:
            yield
        finally:
            with self._lock:
                self._kept.discard(receipt)

    def _extend(self) -> None:
        while not self._done.wait(self._seconds / 2):
            with self._lock:
                receipts = list(self._kept)
            for receipt in receipts:
                try:
                    self._sqs.change_message_visibility(
                        QueueUrl=self._queue_url, ReceiptHandle=receipt, VisibilityTimeout=self._seconds
                    )
                except (ClientError, BotoCoreError) as error:
                    # Another worker may load the object as well: ids are derived, so that only costs time.
                    log.warning("visibility could not be extended", extra={"error": str(error)})
