"""Keep messages invisible to other workers for as long as they are in work here."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import TracebackType

from loader.ingest.answers import QueueAnswers


class VisibilityKeeper:
    """Extends the visibility timeout of kept messages at half of it, from a thread of its own.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
    """

    def __init__(self, answers: QueueAnswers, seconds: int) -> None:
        self._answers = answers
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
    def keep(self, receipts: Collection[str]) -> Iterator[None]:
        """Keep messages invisible inside the ``with`` block."""
        with self._lock:
            self._kept.update(receipts)
        try:
            yield
        finally:
            with self._lock:
                self._kept.difference_update(receipts)

    def kept(self) -> list[str]:
        """Return the receipt handles of what is kept at this moment."""
        with self._lock:
            return list(self._kept)

    def _extend(self) -> None:
        while not self._done.wait(self._seconds / 2):
            receipts = self.kept()
            # Another worker may load the object as well: ids are derived, so that only costs time.
            self._answers.make_visible(dict.fromkeys(receipts, self._seconds))
