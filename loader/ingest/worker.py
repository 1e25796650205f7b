"""Consume a queue of notifications: many objects at once, a message acknowledged only when its objects are safe."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging import getLogger
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from loader.clock import Clock
from loader.ingest.allowance import Allowance
from loader.ingest.answers import MOST, QueueAnswers
from loader.ingest.messages import Handled, Message, MessageHandler
from loader.ingest.report import Totals
from loader.ingest.visibility import VisibilityKeeper

log = getLogger(__name__)

_MAX_RETURN_S = 900
_RETURN_BASE_S = 5
_PAUSE_AFTER_ERROR_S = 5.0
#: A queue that does not answer for so long, beside what it may wait, is in trouble: the client gives up after less.
_SILENCE_S = 300.0
#: Messages are taken together if they are expected to be dealt with in this time.
_MOMENT_S = 2.0


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How the queue is read. Seconds throughout."""

    queue_url: str
    workers: int = 2
    wait: int = 20
    visibility: int = 300
    #: For what is in work when the worker is asked to stop.
    grace: float = 45.0
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
        self._allowance = Allowance(lambda: not self._stop.is_set(), self._left)
        self._answers = QueueAnswers(sqs, options.queue_url)
        self._keeper = VisibilityKeeper(self._answers, options.visibility)
        self._stopped = math.inf
        #: Thread → since when it has been asking the queue for messages without an answer.
        self._asking: dict[int, float] = {}

    def stop(self) -> None:
        """Take no more messages; what is in work is finished, or given back when the grace is over.

        May be called from a signal handler, and more than once.
        """
        self._stopped = min(self._stopped, self._clock.monotonic())
        self._stop.set()

    def trouble(self) -> str | None:
        """Return why this worker is not healthy, or ``None``: for the health endpoint.

        It says nothing of the cluster: while that is away, a worker waits, and a new one could do no more.
        """
        silent = self._clock.monotonic() - min(self._asking.copy().values(), default=math.inf)
        limit = 2 * self._options.wait + _SILENCE_S
        return f"the queue has not answered for {silent:.0f} seconds" if silent > limit else None

    def run(self) -> Totals:
        """Consume until stopped (or, with ``drain``, until the queue is empty) and return the accounts.

        Whatever a thread has not finished when the grace is over is given back to the queue, and the thread is left:
        a request to a cluster that hangs ends when its own time is up, and writes nothing that does harm.
        """
        threads = [_Thread(self._consume, f"load_{number}") for number in range(self._options.workers)]
        with self._keeper:
            try:
                for thread in threads:
                    thread.start()
                self._wait_for(threads)
            except BaseException:
                self.stop()
                raise
        for thread in threads:
            if thread.error is not None:
                raise thread.error
        return self._handler.totals

    def _wait_for(self, threads: Sequence[_Thread]) -> None:
        while running := [thread for thread in threads if thread.is_alive()]:
            if self._left() < 0:
                held = self._keeper.kept()
                log.warning("the grace is over: what is in work goes back to the queue", extra={"messages": len(held)})
                self._answers.make_visible(dict.fromkeys(held, 0))
                return
            if any(thread.error is not None for thread in threads):
                self.stop()
            running[0].join(0.2)

    def _consume(self) -> None:
        pace = _Pace()
        while not self._stop.is_set():
            try:
                received = self._receive(pace.messages)
                if not received:
                    if self._options.drain and self._is_empty():
                        return
                    continue
            except (ClientError, BotoCoreError) as error:
                log.error("the queue cannot be read", extra={"error": str(error)})
                self._stop.wait(_PAUSE_AFTER_ERROR_S)
                continue
            began = self._clock.monotonic()
            self._deal_with(received)
            pace.took(len(received), self._clock.monotonic() - began)

    def _receive(self, most: int) -> list[dict[str, Any]]:
        self._asking.setdefault(threading.get_ident(), self._clock.monotonic())
        answer = self._sqs.receive_message(
            QueueUrl=self._options.queue_url,
            MaxNumberOfMessages=most,
            WaitTimeSeconds=0 if self._options.drain else self._options.wait,
            VisibilityTimeout=self._options.visibility,
            AttributeNames=["ApproximateReceiveCount"],
        )
        self._asking.pop(threading.get_ident(), None)
        listed: list[dict[str, Any]] = answer.get("Messages", [])
        return listed

    def _is_empty(self) -> bool:
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self._options.queue_url, AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"]) == 0

    def _deal_with(self, received: list[dict[str, Any]]) -> None:
        messages = [Message(one.get("MessageId", "unknown"), one.get("Body", ""), _receives(one)) for one in received]
        receipts = [one["ReceiptHandle"] for one in received]
        # Kept until they are answered: those that are dealt with first wait for the others.
        with self._keeper.keep(receipts):
            handled = self._handler.handle_together(messages, self._allowance)
            answers = list(zip(receipts, messages, handled, strict=True))
            done = [receipt for receipt, _, became in answers if became is Handled.DONE]
        self._answers.delete(done)
        self._answers.make_visible(
            {
                receipt: self._delay(message) if became is Handled.AGAIN else 0
                for receipt, message, became in answers
                if became is not Handled.DONE
            }
        )
        for _, _, became in answers:
            self._on_message(became.value)

    def _left(self) -> float:
        """Return the seconds for what is in work."""
        return self._stopped + self._options.grace - self._clock.monotonic()

    def _delay(self, message: Message) -> int:
        """Return the seconds after which a message may come again: more, the more often it came back."""
        return self._rng.randint(0, min(_MAX_RETURN_S, _RETURN_BASE_S * 2 ** min(message.receives, 10)))


class _Thread(threading.Thread):
    """A thread that the process does not wait for at its end, and that keeps what it ended by."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self.error: BaseException | None = None

    def run(self) -> None:
        """Work."""
        try:
            self._work()
        except BaseException as error:  # raised where the threads are waited for
            self.error = error


class _Pace:
    """How many messages a thread takes at a time: as many as it deals with in a moment.

    Messages of small objects share requests. Those of large ones are taken one by one, so that no worker holds what
    another could be loading.
    """

    def __init__(self) -> None:
        self.messages = 1

    def took(self, messages: int, seconds: float) -> None:
        """Take note of how long it took to deal with so many messages."""
        possible = int(_MOMENT_S * messages / seconds) if seconds > 0 else MOST
        # Not all at once: what came last may have been the test event.
        self.messages = max(1, min(MOST, possible, self.messages * 4))


def _receives(message: dict[str, Any]) -> int:
    return int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
