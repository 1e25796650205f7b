"""The channels' file, looked at again while something runs: a change holds from the next alert on."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Lock

from loader.errors import ConfigError
from loader.notify.configuration import Configuration, load_configuration

log = logging.getLogger(__name__)


class ConfigurationFile:
    """Reads the file, and reads it anew when it is another.

    In the middle of an edit a file may be unusable: then what it said before holds, and a warning says why. Threads may
    share one.

    Raises:
        ConfigError: it cannot be used when it is first read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._seen = self._state()
        self._known = load_configuration(path)

    def __call__(self) -> Configuration:
        """Return what the file says, or said when it was last usable."""
        with self._lock:
            state = self._state()
            if state != self._seen:
                self._seen = state
                try:
                    self._known = load_configuration(self._path)
                except ConfigError as error:
                    log.warning(
                        "the channels' file cannot be used; what it said before holds",
                        extra={"file": str(self._path), "error": error.message},
                    )
            return self._known

    def _state(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino
