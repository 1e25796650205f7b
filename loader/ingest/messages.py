"""One queue message → its objects loaded or parked. Shared by the worker and the Lambda handler."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from loader.clock import Clock
from loader.errors import SiemError
from loader.index.parked import DeadLetter, DeadLetterOffice
from loader.ingest.metrics import Metrics
from loader.ingest.notification import parse_notification
from loader.ingest.objects import ObjectLoader
from loader.ingest.report import ObjectReport, Totals
from loader.source.objects import ObjectRef

log = logging.getLogger(__name__)


class MessageHandler:
    """Deals with messages and keeps the accounts. Safe between threads."""

    def __init__(
        self,
        loader: ObjectLoader,
        dead_letters: DeadLetterOffice,
        *,
        queue: str,
        clock: Clock,
        metrics: Metrics | None = None,
        on_report: Callable[[ObjectReport], None] | None = None,
    ) -> None:
        self._loader = loader
        self._dead_letters = dead_letters
        self._queue = queue
        self._clock = clock
        self._metrics = metrics
        self._on_report = on_report or (lambda _: None)
        self._lock = threading.Lock()
        self.totals = Totals()

    def handle(self, message_id: str, body: str) -> bool:
        """Load what a message announces. Return whether it may be acknowledged: all of it is indexed or parked.

        Never raises: one message's trouble, even a defect of ours, must not stop the others.
        """
        if self._metrics:
            self._metrics.in_work.inc()
        try:
            self._handle(message_id, body)
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

    def _handle(self, message_id: str, body: str) -> None:
        notification = parse_notification(body)
        if notification.trouble is not None:
            self._park(message_id, body, notification.trouble)
        for ref in notification.objects:
            report = self._loader.load(ref)
            with self._lock:
                self.totals.add(report)
            if self._metrics:
                self._metrics.object(report, self._lag(report))
            self._on_report(report)
        with self._lock:
            self.totals.messages += 1
            self.totals.skipped.update(notification.skipped)
        self._count_message("parked" if notification.trouble else "acknowledged", notification.skipped)

    def _count_message(self, outcome: str, skipped: dict[str, int]) -> None:
        if self._metrics:
            self._metrics.message(outcome, skipped.items())

    def _lag(self, report: ObjectReport) -> float | None:
        if report.last_event is None:
            return None
        try:
            last = datetime.fromisoformat(report.last_event.replace("Z", "+00:00"))
        except ValueError:
            return None
        return (self._clock.now() - last).total_seconds() if last.tzinfo else None

    def _park(self, message_id: str, body: str, trouble: str) -> None:
        ref = ObjectRef(bucket=f"sqs:{self._queue}", key=message_id)
        raw = body.encode("utf-8", "surrogatepass")
        self._dead_letters.write([DeadLetter(ref, "message", "not_a_notification", trouble, raw)])
        with self._lock:
            self.totals.parked["not_a_notification"] += 1
        log.warning("a message is no notification", extra={"message_id": message_id, "trouble": trouble})
