"""An orderly end: the first Ctrl-C or SIGTERM asks for it, the second one ends the process as it would any other."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType, TracebackType

_SHOW_CURSOR = "\r\x1b[K\x1b[?25h"


class Stopping:
    """``event`` is set by the first SIGINT or SIGTERM that comes while the ``with`` block runs."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._number = 0
        self._before: dict[int, object] = {}

    @property
    def asked(self) -> bool:
        """Tell whether the signal came."""
        return self.event.is_set()

    @property
    def exit_code(self) -> int:
        """Return what a shell reports of a process that the signal has ended: 130 or 143."""
        return 128 + self._number

    def __enter__(self) -> Stopping:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, action in self._before.items():
            signal.signal(number, action)  # type: ignore[arg-type]  # what `signal` itself has returned

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        for each in self._before:
            # Not Python's own action: it would wait for the threads that are waited for already.
            signal.signal(each, signal.SIG_DFL)
        self._number = number
        self.event.set()
        # Written past whatever the main thread is writing just now. A progress bar has hidden the cursor, and the next
        # signal leaves no time to show it.
        text = "Stopping: what is in work is finished first. Once more ends it at once.\n"
        with suppress(OSError, ValueError, AttributeError):
            os.write(2, ((_SHOW_CURSOR if sys.stderr.isatty() else "") + text).encode())
