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


def test_aws_settings_that_cannot_be_are_no_defect_whoever_notices_them(tmp_path: Path) -> None:
    """The client of a managed domain is made of a profile that there is none of."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SIEM_", "AWS_"))}
    environment |= {
        "AWS_PROFILE": "nope",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "SIEM_CLUSTER_URL": "https://127.0.0.1:9",
        "SIEM_CLUSTER_AWS_SERVICE": "es",
        "SIEM_AWS_REGION": "us-east-1",
    }
    command = [sys.executable, "-c", RUN, "alerts", "list"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, "Defect" in done.stderr, "nope" in done.stderr) == (2, False, True), done.stderr
    assert "next" in done.stderr


def test_a_closed_standard_input_is_no_defect(tmp_path: Path) -> None:
    line = f"{sys.executable} -c '{RUN}' normalise - <&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, "Standard input is closed" in done.stderr) == (2, True), done.stderr
