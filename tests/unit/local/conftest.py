from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_tmp() -> Iterator[Path]:
    """A temporary folder every account can enter (pytest's own is closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="siem-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
