"""The exit code of the program itself, not of a command under click's test runner, which treats them differently."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = "from loader.cli.main import run; run()"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["status"], 3),  # no cluster: a command's own code
        (["no-such-command"], 2),  # click's
        (["alerts", "list"], 2),  # an error of ours: no cluster is configured
    ],
)
def test_a_script_sees_how_a_command_ended(words: list[str], code: int, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIEM_")}
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        env={**environment, "SIEM_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
