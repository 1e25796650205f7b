"""moto's server on loopback: S3, SQS and SNS that deliver notifications as AWS does."""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from loader.errors import LocalStackError
from loader.local import process

_START_TIMEOUT_S = 60.0
_POLL_S = 0.1
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class StartedEmulator:
    """An emulator that answers."""

    pid: int
    url: str


def aws_environment() -> dict[str, str]:
    """Return the environment for AWS clients of the emulator: credentials that are none."""
    return {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}


def start_emulator(run: Path) -> StartedEmulator:
    """Start moto's server and return when it answers. What it holds is lost when it stops.

    Raises:
        LocalStackError: moto is not installed, or its server does not come up.
    """
    log = run / "logs" / "moto.out"
    log.parent.mkdir(parents=True, exist_ok=True)
    port = process.free_port()
    url = f"http://127.0.0.1:{port}"
    pid = process.start(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        log=log,
        cwd=run,
        environment={
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))},
            **aws_environment(),
            # Recognised by stop() as the process of this run folder.
            "SIEM_RUN": str(run),
        },
        account=None,
    )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if not process.is_ours(pid, str(run)):
            raise LocalStackError(
                f"moto's server ended while starting:\n{process.last_lines(log)}",
                where=str(log),
                hint="Install the extra: pip install 'cloudtrail-siem[local]'.",
            )
        if answers(url):
            return StartedEmulator(pid, url)
        time.sleep(_POLL_S)
    process.stop(pid, str(run))
    raise LocalStackError("moto's server does not answer", where=str(log))


def answers(url: str) -> bool:
    """Tell whether moto's server is at ``url``."""
    try:
        with urllib.request.urlopen(f"{url}/moto-api/", timeout=5) as answer:  # noqa: S310  # ours, http
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
