"""S3, SQS and SNS on this machine: moto's server as a process of its own."""

from __future__ import annotations

import http.client
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import loader
from loader.clock import Clock, SystemClock
from loader.errors import LocalStackError
from loader.local import process
from loader.local.distribution import Progress, silent
from loader.local.ports import HOST, free_ports

REGION = "us-east-1"

#: What makes boto3 talk to the emulator and to nothing else: moto takes any credentials, AWS refuses these.
CREDENTIALS = MappingProxyType(
    {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
)


def environment(endpoint_url: str, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment variables under which boto3 talks to the emulator at ``endpoint_url``.

    Where ``inherited`` names a proxy, loopback is taken out of its reach: botocore would ask it otherwise.
    """
    direct = {}
    if any(name.lower() in ("http_proxy", "all_proxy") for name in inherited):
        names = ("NO_PROXY", "no_proxy")
        entries = [entry for name in names for entry in inherited.get(name, "").split(",") if entry]
        direct = dict.fromkeys(names, ",".join(dict.fromkeys([*entries, HOST])))
    return {**CREDENTIALS, **direct, "AWS_ENDPOINT_URL": endpoint_url, "SIEM_AWS_ENDPOINT_URL": endpoint_url}


class AwsEmulator:
    """moto's server on loopback. It keeps everything in memory: what is in it is gone when it stops."""

    def __init__(
        self,
        run_dir: Path,
        *,
        progress: Progress = silent,
        clock: Clock | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self.run_dir = run_dir
        self.port: int | None = None
        self._pid: int | None = None
        self._progress = progress
        self._clock = clock or SystemClock()
        self._start_timeout = start_timeout

    @property
    def log(self) -> Path:
        """The file with everything the emulator prints."""
        return self.run_dir / "aws.log"

    @property
    def url(self) -> str:
        """The endpoint of every service. It answers only while the emulator runs."""
        if self.port is None:
            raise LocalStackError("the emulator was not started", where=str(self.run_dir), hint="Call start() first.")
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The emulator's process id; None if it does not run."""
        return self._pid if process.is_ours(self._pid, self.run_dir) else None

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.pid is not None

    def attach(self, pid: int, port: int) -> None:
        """Take over an emulator that another process started in the same folder."""
        self._pid, self.port = pid, port

    def start(self, preferred_port: int | None = None) -> None:
        """Start the emulator and wait until it answers.

        Raises:
            LocalStackError: moto is not installed, or its server did not start.
        """
        if self.is_running:
            return
        if importlib.util.find_spec("moto") is None:
            raise LocalStackError(
                "the Python package moto is missing",
                where="Python environment",
                hint="Install the local stack's packages: pip install 'cloudtrail-siem[local]'",
            )
        self._progress("Start S3 and SQS", 0.0)
        self.run_dir.mkdir(parents=True, exist_ok=True)
        for attempt in (1, 2, 3):
            (port,) = free_ports(1, [preferred_port] if preferred_port and attempt == 1 else [])
            pid = self._launch(port)
            self.attach(pid, port)
            try:
                self._wait(pid)
            except LocalStackError:
                taken = any("Address already in use" in line or "in use by" in line for line in process.tail(self.log))
                if attempt == 3 or not taken:
                    raise
            else:
                return

    def stop(self, timeout: float = 10.0) -> bool:
        """Stop the emulator; return whether there was one to stop.

        Raises:
            LocalStackError: it does not end.
        """
        if self._pid is None:
            return False
        stopped = process.stop(self._pid, self.run_dir, timeout=timeout, clock=self._clock)
        self._pid = None
        return stopped

    def answers(self, timeout: float = 5.0) -> bool:
        """Tell whether moto's server is at the port."""
        if self.port is None:
            return False
        connection = http.client.HTTPConnection(HOST, self.port, timeout=timeout)
        try:
            connection.request("GET", "/moto-api/data.json")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _launch(self, port: int) -> int:
        # Neither the caller's credentials nor a proxy: what the emulator sends stays on this machine.
        env = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ},
            **CREDENTIALS,
            "MOTO_PORT": str(port),
            "NO_PROXY": f"{HOST},localhost",
            "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(Path(loader.__file__).parent.parent),
        }
        command = [sys.executable, "-m", "loader.local.aws_server", str(port), f"{self.run_dir}{os.sep}"]
        return process.spawn(command, log=self.log, env=env, cwd=self.run_dir)

    def _wait(self, pid: int) -> None:
        started = self._clock.monotonic()
        try:
            while not self.answers():
                code = process.exit_code(pid)
                waited = self._clock.monotonic() - started
                if code is not None or waited > self._start_timeout:
                    what = f"ended (exit code {code})" if code is not None else f"did not answer in {waited:.0f} s"
                    lines = "\n".join(f"    {line[:400]}" for line in process.tail(self.log))
                    raise LocalStackError(
                        f"moto's server {what}; the last it printed:\n{lines}",
                        where=str(self.log),
                        hint=f"Read the whole log: {self.log}",
                    )
                self._clock.sleep(0.1)
        except BaseException:
            self.stop(timeout=5.0)
            raise
        self._progress("Start S3 and SQS", 1.0)
