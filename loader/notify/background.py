"""Sending beside detection, in a thread of its own: a receiver that hangs keeps no rule from running."""

from __future__ import annotations

from collections.abc import Callable

from loader.background import Background
from loader.notify.send import Sender, SendReport

_INTERVAL_S = 5.0
#: How long the end waits for a message that is being sent. It is claimed, so nothing is lost if it is cut off.
_LAST_S = 30.0


class BackgroundSender(Background):
    """Empties the outbox while its ``with`` block runs."""

    def __init__(self, sender: Sender, *, on_report: Callable[[SendReport], None] = lambda _: None) -> None:
        super().__init__("notify", interval=_INTERVAL_S, patience=_LAST_S)
        self._sender = sender
        self._on_report = on_report

    def once(self) -> None:
        """Send what waits."""
        self._on_report(self._sender.run_pass(stop=self.stopping))
