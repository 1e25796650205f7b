"""One queue message → its objects loaded or parked. Shared by the worker and the Lambda handler."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from loader.errors import SiemError
from loader.index.parked import DeadLetter, DeadLetterOffice
from loader.ingest.metrics import Metrics
from loader.ingest.notification import parse_notification
from loader.ingest.objects import ObjectLoader, SuspiciousRejectionsError
from loader.ingest.report import AccountingError, ObjectReport, Totals
from loader.source.objects import ObjectRef

log = logging.getLogger(__name__)

#: Errors that come again however often the message does, until somebody changes the templates or this program.
_LASTING = (SuspiciousRejectionsError, AccountingError)


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
        """Load what a message announces. Return whether it may be acknowledged: all of it is indexed or parked.

        ``receives`` counts how often the queue has delivered it. Never raises: one message's trouble, even a defect of
        ours, must not stop the others.
        """
        if self._metrics:
            self._metrics.in_work.inc()
        try:
            try:
                self._handle(message_id, body, receives)
            except Exception as error:
                if receives < self._patience or (isinstance(error, SiemError) and not isinstance(error, _LASTING)):
                    raise
                log.exception("a message that never succeeds is parked", extra={"message_id": message_id})
                self._park(message_id, body, _reason(error), f"{type(error).__name__}: {error}")
                self._count_message("parked", {})
        except Exception as error:
            expected = isinstance(error, SiemError)
            log.log(
                logging.WARNING if expected else logging.ERROR,
                "message goes back to the queue",
                extra={"message_id": message_id, "error": str(error), "error_type": type(error).__name__},
                exc_info=None if expected else error,
            )
            with self._lock:
                self.totals.returned += 1
            self._count_message("returned", {})
            return False
        finally:
            if self._metrics:
                self._metrics.in_work.dec()
        return True

    def _handle(self, message_id: str, body: str, receives: int) -> None:
        notification = parse_notification(body)
        if notification.trouble is not None:
            self._park(message_id, body, "not_a_notification", notification.trouble)
        for sent in notification.subscriptions:
            self._report(self._loader.load(sent.ref, sent.content))
        for ref in notification.objects:
            self._report(self._load(ref, receives))
        with self._lock:
            self.totals.messages += 1
            self.totals.skipped.update(notification.skipped)
        self._count_message("parked" if notification.trouble else "acknowledged", notification.skipped)

    def _load(self, ref: ObjectRef, receives: int) -> ObjectReport:
        try:
            return self._loader.load(ref)
        except SuspiciousRejectionsError as error:
            if receives < self._patience:
                raise
            # Without a redrive policy it would come back for ever, and nobody would see it. The object stays in S3.
            return self._loader.park(ref, _reason(error), error.message)

    def _report(self, report: ObjectReport) -> None:
        with self._lock:
            self.totals.add(report)
        if self._metrics:
            self._metrics.object(report)
        self._on_report(report)

    def _count_message(self, outcome: str, skipped: dict[str, int]) -> None:
        if self._metrics:
            self._metrics.message(outcome, skipped.items())

    def _park(self, message_id: str, body: str, reason: str, trouble: str) -> None:
        ref = ObjectRef(bucket=f"sqs:{self._queue}", key=message_id)
        raw = body.encode("utf-8", "surrogatepass")
        self._dead_letters.write([DeadLetter(ref, "message", reason, trouble, raw)])
        with self._lock:
            self.totals.parked[reason] += 1
        log.warning("a message is parked", extra={"message_id": message_id, "reason": reason, "trouble": trouble})


def _reason(error: Exception) -> str:
    return "suspicious_rejections" if isinstance(error, SuspiciousRejectionsError) else "defect"
