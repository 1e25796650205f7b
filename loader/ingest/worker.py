"""Consume a queue of notifications: many objects at once, a message acknowledged only when its objects are safe."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from logging import getLogger
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from loader.clock import Clock
from loader.ingest.messages import MessageHandler
from loader.ingest.report import Totals
from loader.ingest.visibility import VisibilityKeeper

log = getLogger(__name__)

_MAX_RETURN_S = 900
_RETURN_BASE_S = 5
_PAUSE_AFTER_ERROR_S = 5.0


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How the queue is read. Seconds throughout."""

    queue_url: str
    workers: int = 2
    wait: int = 20
    visibility: int = 300
    #: Return when the queue is empty instead of waiting for more.
    drain: bool = False


class QueueWorker:
    """Long-polls a queue with several threads until stopped, or until it is empty."""

    def __init__(
        self,
        sqs: Any,  # a boto3 client: botocore makes its methods at run time
        handler: MessageHandler,
        options: QueueOptions,
        *,
        clock: Clock,
        rng: random.Random | None = None,
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        self._sqs = sqs
        self._handler = handler
        self._options = options
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._on_message = on_message or (lambda _: None)
        self._stop = threading.Event()
        self._keeper = VisibilityKeeper(sqs, options.queue_url, options.visibility)
        self._last_answer = clock.monotonic()

    def stop(self) -> None:
        """Take no more messages; what is in work is finished. May be called from a signal handler."""
        self._stop.set()

    def trouble(self) -> str | None:
        """Return why this worker is not healthy, or ``None``: for the health endpoint."""
        silent = self._clock.monotonic() - self._last_answer
        limit = 2 * (self._options.wait + self._options.visibility)
        return f"the queue has not answered for {silent:.0f} seconds" if silent > limit else None

    def run(self) -> Totals:
        """Consume until stopped (or, with ``drain``, until the queue is empty) and return the accounts."""
        with self._keeper, ThreadPoolExecutor(self._options.workers, thread_name_prefix="load") as pool:
            try:
                for done in [pool.submit(self._consume) for _ in range(self._options.workers)]:
                    done.result()
            except BaseException:
                self.stop()
                raise
        return self._handler.totals

    def _consume(self) -> None:
        while not self._stop.is_set():
            try:
                message = self._receive()
                if message is None:
                    if self._options.drain and self._is_empty():
                        return
                    continue
            except (ClientError, BotoCoreError) as error:
                log.error("the queue cannot be read", extra={"error": str(error)})
                self._stop.wait(_PAUSE_AFTER_ERROR_S)
                continue
            self._deal_with(message)

    def _receive(self) -> dict[str, Any] | None:
        # One at a time: a message that waits here in line would age towards its visibility timeout for nothing.
        answer = self._sqs.receive_message(
            QueueUrl=self._options.queue_url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=0 if self._options.drain else self._options.wait,
            VisibilityTimeout=self._options.visibility,
            AttributeNames=["ApproximateReceiveCount"],
        )
        self._last_answer = self._clock.monotonic()
        messages = answer.get("Messages", [])
        return messages[0] if messages else None

    def _is_empty(self) -> bool:
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self._options.queue_url, AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"]) == 0

    def _deal_with(self, message: dict[str, Any]) -> None:
        receipt = message["ReceiptHandle"]
        with self._keeper.keep(receipt):
            done = self._handler.handle(
                message.get("MessageId", "unknown"), message.get("Body", ""), receives=_receives(message)
            )
        try:
            if done:
                self._sqs.delete_message(QueueUrl=self._options.queue_url, ReceiptHandle=receipt)
            else:
                self._give_back(message)
        except (ClientError, BotoCoreError) as error:
            # The message comes back by itself; its objects are then counted as duplicates.
            log.warning("the queue did not take an answer", extra={"error": str(error)})
        self._on_message("acknowledged" if done else "returned")

    def _give_back(self, message: dict[str, Any]) -> None:
        """Return the message to the queue, later the more often it came back."""
        delay = self._rng.randint(0, min(_MAX_RETURN_S, _RETURN_BASE_S * 2 ** min(_receives(message), 10)))
        self._sqs.change_message_visibility(
            QueueUrl=self._options.queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=delay
        )


def _receives(message: dict[str, Any]) -> int:
    return int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
