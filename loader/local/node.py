"""One search server on this machine: configured, started, watched, stopped."""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from typing import Any

from loader.clock import Clock, SystemClock
from loader.errors import LocalStackError
from loader.local import process
from loader.local.account import Account, service_account
from loader.local.cache import Cache
from loader.local.capacity import GIB, check_disk, check_memory
from loader.local.configuration import RunFolder, as_yaml, prepare
from loader.local.distribution import OPENSEARCH, Distribution, Progress, installed, silent
from loader.local.java import Java, find_java, usable_by
from loader.local.ports import HOST, free_ports

_PORT_TAKEN = ("BindException", "BindHttpException", "BindTransportException", "Address already in use")
_TYPICAL_START_S = 20.0
_FREE_FOR_DATA = GIB
_ATTEMPTS = 3


class OpenSearchNode:
    """A single-node OpenSearch (or Elasticsearch) on loopback whose files are in one folder.

    It runs in a session of its own and outlives the process that started it, until :meth:`stop`.
    """

    def __init__(
        self,
        run_dir: Path,
        cache: Cache,
        *,
        heap: str = "1g",
        distribution: Distribution = OPENSEARCH,
        java: Java | None = None,
        progress: Progress = silent,
        clock: Clock | None = None,
        start_timeout: float = 180.0,
    ) -> None:
        self.folder = RunFolder(run_dir)
        self.cache = cache
        self.heap = heap
        self.distribution = distribution
        self.java = java
        self.http_port: int | None = None
        self._pid: int | None = None
        self._progress = progress
        self._clock = clock or SystemClock()
        self._start_timeout = start_timeout

    @property
    def log(self) -> Path:
        """The file with everything the server prints."""
        return self.folder.console

    @property
    def name(self) -> str:
        """The cluster's name."""
        return f"siem-{self.folder.path.name}"

    @property
    def url(self) -> str:
        """The server's address. It answers only while the server runs."""
        if self.http_port is None:
            raise LocalStackError("the server was not started", where=str(self.folder.path), hint="Call start() first.")
        return f"http://{HOST}:{self.http_port}"

    @property
    def pid(self) -> int | None:
        """The server's process id; None if it does not run."""
        return self._pid if process.is_ours(self._pid, self.folder.path) else None

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.pid is not None

    def attach(self, pid: int, http_port: int) -> None:
        """Take over a server that another process started in the same folder."""
        self._pid, self.http_port = pid, http_port

    def start(self, preferred_port: int | None = None) -> None:
        """Start the server and wait until it answers.

        Raises:
            LocalStackError: memory, disk, Java, the download or the server itself failed; the message says which, with
                the log's last lines.
        """
        if self.is_running:
            return
        check_memory(self.heap)
        account = service_account()
        self.cache.prepare(account)
        check_disk(self.folder.path, _FREE_FOR_DATA)
        release = self.distribution
        self._progress("Find Java", None)
        found = self.java or find_java(release.java_minimum, release.java_maximum)
        java = self.java = usable_by(found, account, self.cache)
        home = installed(release, self.cache, full_jdk=java.full_jdk, progress=self._progress)
        preferred = [preferred_port] if preferred_port else []
        for attempt in range(1, _ATTEMPTS + 1):
            http_port, transport_port = free_ports(2, preferred if attempt == 1 else [])
            settings = {f"{release.flavour}.yml": as_yaml(self._settings(http_port, transport_port))}
            prepare(self.folder, home / "config", settings, full_jdk=java.full_jdk, account=account)
            pid = self._launch(home, java, account)
            self.attach(pid, http_port)
            try:
                self._wait(pid, http_port)
            except LocalStackError:
                port_taken = any(sign in line for line in process.tail(self.log, 200) for sign in _PORT_TAKEN)
                if attempt == _ATTEMPTS or not port_taken:
                    raise
            else:
                return

    def stop(self, timeout: float = 30.0) -> bool:
        """Stop the server; return whether there was one to stop.

        Raises:
            LocalStackError: it does not end.
        """
        if self._pid is None:
            return False
        stopped = process.stop(self._pid, self.folder.path, timeout=timeout, clock=self._clock)
        self._pid = None
        self.folder.pid.unlink(missing_ok=True)
        return stopped

    def health(self, timeout: float = 5.0) -> dict[str, Any] | None:
        """Return what ``GET /_cluster/health`` says, or None if our own cluster does not answer."""
        if self.http_port is None:
            return None
        connection = http.client.HTTPConnection(HOST, self.http_port, timeout=timeout)
        try:
            connection.request("GET", "/_cluster/health")
            answer: Any = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        # Another server may have got the port: it has another name.
        return answer if isinstance(answer, dict) and answer.get("cluster_name") == self.name else None

    def _settings(self, http_port: int, transport_port: int) -> dict[str, str]:
        return {
            "cluster.name": self.name,
            "node.name": self.name,
            "discovery.type": "single-node",
            "network.host": HOST,
            "http.port": str(http_port),
            "transport.port": str(transport_port),
            # A laptop's disk is often fuller than the watermarks allow, which would make every index read-only.
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            **self.distribution.settings,
        }

    def _launch(self, home: Path, java: Java, account: Account | None) -> int:
        prefix = self.distribution.prefix
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder.tmp),
            "LC_ALL": "C.UTF-8",
            f"{prefix}_JAVA_HOME": str(java.home),
            f"{prefix}_PATH_CONF": str(self.folder.config),
            f"{prefix}_TMPDIR": str(self.folder.tmp),
            f"{prefix}_JAVA_OPTS": f"-Xms{self.heap} -Xmx{self.heap}",
        }
        # The folders stand on the command line, not in the file: that is how the process is recognised later.
        command = [
            str(home / "bin" / self.distribution.flavour),
            f"-Epath.data={self.folder.data}",
            f"-Epath.logs={self.folder.logs}",
        ]
        self._progress(self._step, 0.0)
        pid = process.spawn(command, log=self.log, env=environment, cwd=home, account=account)
        self.folder.pid.write_text(f"{pid}\n")
        return pid

    def _wait(self, pid: int, http_port: int) -> None:
        started = self._clock.monotonic()
        try:
            while True:
                waited = self._clock.monotonic() - started
                if (code := process.exit_code(pid)) is not None:
                    raise self._failure(f"ended while starting (exit code {code})")
                status = (self.health() or {}).get("status")
                if status in ("green", "yellow"):
                    self._progress(self._step, 1.0)
                    return
                if waited > self._start_timeout:
                    said = f"answers, but its status is {status}," if status else "did not answer"
                    raise self._failure(f"{said} on port {http_port} after {self._start_timeout:.0f} s")
                self._progress(self._step, min(0.95, waited / _TYPICAL_START_S))
                self._clock.sleep(0.2)
        except BaseException:
            self.stop(timeout=5.0)
            raise

    @property
    def _step(self) -> str:
        return f"Start {self.distribution.flavour} {self.distribution.version}"

    def _failure(self, what: str) -> LocalStackError:
        # Without the frames of Java's stack traces, which push what matters out of sight.
        lines = [line for line in process.tail(self.log, 300) if not line.lstrip().startswith(("at ", "... "))][-15:]
        shown = "\n".join(f"    {line[:400]}" for line in lines) or "    (it printed nothing)"
        return LocalStackError(
            f"{self.distribution.flavour} {self.distribution.version} {what}; the last it printed:\n{shown}",
            where=str(self.log),
            hint=f"Read the whole log: {self.log}",
        )
