"""Work done again and again beside the main one, in a thread of its own."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from threading import Event, Thread
from types import TracebackType

log = logging.getLogger(__name__)


class Background(ABC):
    """Does ``once`` every ``interval`` seconds while its ``with`` block runs.

    ``patience`` is how many seconds the end of the block waits for what is being done. What ``once`` raises is logged,
    and the next one may be better: whatever runs beside it goes on.
    """

    def __init__(self, name: str, *, interval: float, patience: float) -> None:
        self._name = name
        self._interval = interval
        self._patience = patience
        self._stop = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def once(self) -> None:
        """Do the work once."""

    def stopping(self) -> bool:
        """Tell whether the block has ended: what takes long looks here."""
        return self._stop.is_set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.once()
            except Exception:
                log.exception("background work failed", extra={"work": self._name})
            self._stop.wait(self._interval)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(self._patience)
