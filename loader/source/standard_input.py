"""Standard input as a file: objects are read more than once when something has to be retried, a pipe cannot be."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def spool(stream: IO[bytes] | None) -> Iterator[Path | None]:
    """Copy ``stream`` to a temporary file for as long as the ``with`` block runs; ``None`` stays ``None``."""
    if stream is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="siem-") as folder:
        path = Path(folder) / "stdin.json"
        with path.open("wb") as target:
            shutil.copyfileobj(stream, target, 2**20)
        yield path
