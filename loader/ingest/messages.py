"""Queue messages → their objects loaded or parked. Shared by the worker and the Lambda handler."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from loader.errors import SiemError
from loader.index.deadline import within
from loader.index.parked import DeadLetter, DeadLetterOffice
from loader.ingest.allowance import ENDLESS, Allowance
from loader.ingest.metrics import Metrics
from loader.ingest.notification import Notification, parse_notification
from loader.ingest.objects import Arrival, ObjectLoader, Outcome
from loader.ingest.report import AccountingError, ObjectReport, Totals
from loader.ingest.work import SuspiciousRejectionsError
from loader.source.objects import ObjectRef

log = logging.getLogger(__name__)

#: Errors that come again however often the message does, until somebody changes the templates or this program.
_LASTING = (SuspiciousRejectionsError, AccountingError)


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the queue. ``receives`` counts how often the queue has delivered it."""

    id: str
    body: str
    receives: int = 1


class Handled(Enum):
    """What became of a message."""

    #: All of it is indexed or parked: it may be acknowledged.
    DONE = "acknowledged"
    #: Something went wrong that another time may not: it has to come again.
    AGAIN = "returned"
    #: There was no time for it: nothing speaks against its coming again at once.
    NOT_BEGUN = "not begun"


@dataclass(slots=True)
class _Dealt:
    """A message in work: what it says, what is to be loaded because of it, and what went wrong."""

    message: Message
    notification: Notification = field(default_factory=Notification)
    arrivals: list[Arrival] = field(default_factory=list)
    error: Exception | None = None
    begun: bool = True


class MessageHandler:
    """Deals with messages and keeps the accounts. Safe between threads."""

    def __init__(
        self,
        loader: ObjectLoader,
        dead_letters: DeadLetterOffice,
        *,
        queue: str,
        patience: int = 10,
        metrics: Metrics | None = None,
        on_report: Callable[[ObjectReport], None] | None = None,
    ) -> None:
        self._loader = loader
        self._dead_letters = dead_letters
        self._queue = queue
        self._patience = patience
        self._metrics = metrics
        self._on_report = on_report or (lambda _: None)
        self._lock = threading.Lock()
        self.totals = Totals()

    def handle(self, message_id: str, body: str, *, receives: int = 1) -> bool:
        """Load what one message announces. Return whether it may be acknowledged."""
        return self.handle_together([Message(message_id, body, receives)]) == [Handled.DONE]

    def handle_together(self, messages: Sequence[Message], allowance: Allowance = ENDLESS) -> list[Handled]:
        """Load what messages announce, and return what became of each, in their order.

        Never raises: one message's trouble, even a defect of ours, must not stop the others.
        """
        if self._metrics:
            self._metrics.in_work.inc(len(messages))
        try:
            with within(allowance.left):
                dealt = [self._read(message) for message in messages]
                outcomes = iter(self._load([arrival for one in dealt for arrival in one.arrivals], allowance))
                for one in dealt:
                    for arrival in one.arrivals:
                        self._take(one, arrival, next(outcomes))
                return [self._finish(one) for one in dealt]
        finally:
            if self._metrics:
                self._metrics.in_work.dec(len(messages))

    def _read(self, message: Message) -> _Dealt:
        one = _Dealt(message)
        try:
            said = one.notification = parse_notification(message.body)
            if said.trouble is not None:
                self._park(message, "not_a_notification", said.trouble)
            one.arrivals += [Arrival(sent.ref, sent.content) for sent in said.subscriptions]
            one.arrivals += [Arrival(ref) for ref in said.objects]
        except Exception as error:  # told apart in `_finish`
            one.error = error
            one.arrivals.clear()
        return one

    def _load(self, arrivals: Sequence[Arrival], allowance: Allowance) -> Iterable[Outcome]:
        try:
            return self._loader.load_together(arrivals, allowance)
        except Exception as error:  # told apart in `_finish`
            return [error] * len(arrivals)

    def _take(self, one: _Dealt, arrival: Arrival, outcome: Outcome) -> None:
        """Note what became of one of a message's objects."""
        try:
            if (
                isinstance(outcome, SuspiciousRejectionsError)
                and one.message.receives >= self._patience
                and arrival.content is None
            ):
                # Without a redrive policy it would come back for ever, and nobody would see it. It stays in S3.
                outcome = self._loader.park(arrival.ref, _reason(outcome), outcome.message)
        except Exception as error:  # told apart in `_finish`
            outcome = error
        if outcome is None:
            one.begun = False
        elif isinstance(outcome, Exception):
            one.error = one.error or outcome
        else:
            self._report(outcome)

    def _finish(self, one: _Dealt) -> Handled:
        message, error = one.message, one.error
        if error is None and not one.begun:
            return Handled.NOT_BEGUN
        if error is not None and self._is_hopeless(message, error):
            log.error(
                "a message that never succeeds is parked",
                extra={"message_id": message.id, "error": str(error), "error_type": type(error).__name__},
                exc_info=error,
            )
            try:
                self._park(message, _reason(error), f"{type(error).__name__}: {error}")
            except Exception as trouble:  # what cannot be parked comes again
                error = trouble
            else:
                self._count_message("parked", {})
                return Handled.DONE
        if error is not None:
            return self._again(message, error)
        with self._lock:
            self.totals.messages += 1
            self.totals.skipped.update(one.notification.skipped)
        self._count_message("parked" if one.notification.trouble else "acknowledged", one.notification.skipped)
        return Handled.DONE

    def _is_hopeless(self, message: Message, error: Exception) -> bool:
        lasting = not isinstance(error, SiemError) or isinstance(error, _LASTING)
        return lasting and message.receives >= self._patience

    def _again(self, message: Message, error: Exception) -> Handled:
        expected = isinstance(error, SiemError)
        log.log(
            logging.WARNING if expected else logging.ERROR,
            "message goes back to the queue",
            extra={"message_id": message.id, "error": str(error), "error_type": type(error).__name__},
            exc_info=None if expected else error,
        )
        with self._lock:
            self.totals.returned += 1
        self._count_message("returned", {})
        return Handled.AGAIN

    def _report(self, report: ObjectReport) -> None:
        with self._lock:
            self.totals.add(report)
        if self._metrics:
            self._metrics.object(report)
        self._on_report(report)

    def _count_message(self, outcome: str, skipped: dict[str, int]) -> None:
        if self._metrics:
            self._metrics.message(outcome, skipped.items())

    def _park(self, message: Message, reason: str, trouble: str) -> None:
        ref = ObjectRef(bucket=f"sqs:{self._queue}", key=message.id)
        raw = message.body.encode("utf-8", "surrogatepass")
        self._dead_letters.write([DeadLetter(ref, "message", reason, trouble, raw)])
        with self._lock:
            self.totals.parked[reason] += 1
        if self._metrics:
            self._metrics.parked_message(reason)
        log.warning("a message is parked", extra={"message_id": message.id, "reason": reason, "trouble": trouble})


def _reason(error: Exception) -> str:
    return "suspicious_rejections" if isinstance(error, SuspiciousRejectionsError) else "defect"
