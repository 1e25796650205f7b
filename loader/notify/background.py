"""Sending beside detection, in a thread of its own: a receiver that hangs keeps no rule from running."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType

from loader.notify.send import Sender, SendReport

log = logging.getLogger(__name__)

_INTERVAL_S = 5.0
#: How long the end waits for a message that is being sent. It is claimed, so nothing is lost if it is cut off.
_LAST_S = 30.0


class BackgroundSender:
    """Empties the outbox while its ``with`` block runs."""

    def __init__(self, sender: Sender, *, on_report: Callable[[SendReport], None] = lambda _: None) -> None:
        self._sender = sender
        self._on_report = on_report
        self._stop = Event()
        self._thread = Thread(target=self._run, name="notify", daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._on_report(self._sender.run_pass(stop=self._stop.is_set))
            except Exception:  # whatever it is, the next pass may be better, and detection goes on
                log.exception("sending failed")
            self._stop.wait(_INTERVAL_S)

    def __enter__(self) -> BackgroundSender:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_LAST_S)
