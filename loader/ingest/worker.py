"""Consume a queue of notifications: many objects at once, a message acknowledged only when its objects are safe."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from loader.clock import Clock
from loader.errors import SiemError
from loader.index.parked import DeadLetter, DeadLetterOffice
from loader.ingest.notification import parse_notification
from loader.ingest.objects import ObjectLoader
from loader.ingest.report import ObjectReport, Totals
from loader.ingest.visibility import VisibilityKeeper
from loader.source.objects import ObjectRef

log = logging.getLogger(__name__)

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
        loader: ObjectLoader,
        dead_letters: DeadLetterOffice,
        options: QueueOptions,
        *,
        clock: Clock,
        rng: random.Random | None = None,
        on_report: Callable[[ObjectReport], None] | None = None,
    ) -> None:
        self._sqs = sqs
        self._loader = loader
        self._dead_letters = dead_letters
        self._options = options
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        self._on_report = on_report
        self._totals = Totals()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._keeper = VisibilityKeeper(sqs, options.queue_url, options.visibility)

    def stop(self) -> None:
        """Take no more messages; what is in work is finished. May be called from a signal handler."""
        self._stop.set()

    def run(self) -> Totals:
        """Consume until stopped (or, with ``drain``, until the queue is empty) and return the accounts."""
        with self._keeper, ThreadPoolExecutor(self._options.workers, thread_name_prefix="load") as pool:
            for done in [pool.submit(self._consume) for _ in range(self._options.workers)]:
                done.result()
        return self._totals

    def _consume(self) -> None:
        while not self._stop.is_set():
            try:
                message = self._receive()
            except (ClientError, BotoCoreError) as error:
                log.error("the queue cannot be read", extra={"error": str(error)})
                self._stop.wait(_PAUSE_AFTER_ERROR_S)
                continue
            if message is None:
                if self._options.drain and self._is_empty():
                    return
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
            try:
                self._handle(message)
            except Exception as error:  # one message's trouble, even a defect of ours, must not stop the others
                self._give_back(message, error)
                return
        self._sqs.delete_message(QueueUrl=self._options.queue_url, ReceiptHandle=receipt)

    def _handle(self, message: dict[str, Any]) -> None:
        """Load what the message announces. Returns only when all of it is indexed or parked."""
        notification = parse_notification(message.get("Body", ""))
        if notification.trouble is not None:
            self._park_message(message, notification.trouble)
        for ref in notification.objects:
            report = self._loader.load(ref)
            with self._lock:
                self._totals.add(report)
            if self._on_report is not None:
                self._on_report(report)
        with self._lock:
            self._totals.messages += 1
            self._totals.skipped.update(notification.skipped)

    def _park_message(self, message: dict[str, Any], trouble: str) -> None:
        queue = self._options.queue_url.rsplit("/", 1)[-1]
        ref = ObjectRef(bucket=f"sqs:{queue}", key=message.get("MessageId", "unknown"))
        raw = message.get("Body", "").encode("utf-8", "surrogatepass")
        self._dead_letters.write([DeadLetter(ref, "message", "not_a_notification", trouble, raw)])
        with self._lock:
            self._totals.parked["not_a_notification"] += 1
        log.warning("a message is no notification", extra={"message_id": ref.key, "trouble": trouble})

    def _give_back(self, message: dict[str, Any], error: Exception) -> None:
        """Return the message to the queue, later the more often it came back."""
        received = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
        delay = self._rng.randint(0, min(_MAX_RETURN_S, _RETURN_BASE_S * 2 ** min(received, 10)))
        expected = isinstance(error, SiemError)
        log.log(
            logging.WARNING if expected else logging.ERROR,
            "message returned to the queue",
            extra={"message_id": message.get("MessageId"), "error": str(error), "seconds": delay},
            exc_info=None if expected else error,
        )
        with self._lock:
            self._totals.returned += 1
        try:
            self._sqs.change_message_visibility(
                QueueUrl=self._options.queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=delay
            )
        except (ClientError, BotoCoreError) as failure:
            # It comes back by itself when its visibility runs out.
            log.warning("visibility could not be changed", extra={"error": str(failure)})
