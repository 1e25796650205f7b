"""One search server on this machine: configured, started, watched, stopped."""

from __future__ import annotations

import http.client
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.clock import Clock, SystemClock
from loader.errors import LocalStackError
from loader.local import process
from loader.local.account import Account, service_account
from loader.local.cache import Cache
from loader.local.capacity import GIB, check_disk, check_memory
from loader.local.distribution import OPENSEARCH, Distribution, Progress, installed, silent
from loader.local.java import Java, find_java, usable_by
from loader.local.ports import HOST, free_ports

_PORT_TAKEN = ("BindException", "BindHttpException", "BindTransportException", "Address already in use")
_TYPICAL_START_S = 20.0
_FREE_FOR_DATA = GIB


@dataclass(frozen=True, slots=True)
class RunFolder:
    """What one stack keeps: ``data/``, ``logs/``, ``config/`` and ``tmp/`` are the server's, the rest is ours."""

    path: Path

    @property
    def data(self) -> Path:
        """The indices."""
        return self.path / "data"

    @property
    def logs(self) -> Path:
        """The logs of every process."""
        return self.path / "logs"

    @property
    def config(self) -> Path:
        """The server's configuration."""
        return self.path / "config"

    @property
    def tmp(self) -> Path:
        """The server's temporary files."""
        return self.path / "tmp"

    @property
    def pid(self) -> Path:
        """The file with the server's process id."""
        return self.path / "pid"


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
        return self.folder.logs / "console.log"

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
        self._progress("Find Java", None)
        release = self.distribution
        found = self.java or find_java(release.java_minimum, release.java_maximum)
        self.java = usable_by(found, account, self.cache)
        home = installed(release, self.cache, full_jdk=self.java.full_jdk, progress=self._progress)
        for attempt in (1, 2, 3):
            http_port, transport_port = free_ports(2, [preferred_port] if preferred_port and attempt == 1 else [])
            self._configure(home, account, http_port, transport_port)
            self._launch(home, account, http_port)
            try:
                self._wait(http_port)
            except LocalStackError:
                port_taken = any(sign in line for line in process.tail(self.log, 200) for sign in _PORT_TAKEN)
                if attempt == 3 or not port_taken:
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

    def _configure(self, home: Path, account: Account | None, http_port: int, transport_port: int) -> None:
        folder = self.folder
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            folder.path.chmod(0o755)
            shutil.rmtree(folder.config, ignore_errors=True)
            shutil.rmtree(folder.tmp, ignore_errors=True)
            shutil.copytree(home / "config", folder.config)
            for own in (folder.data, folder.logs, folder.tmp):
                own.mkdir(exist_ok=True)
            (folder.config / f"{self.distribution.flavour}.yml").write_text(self._settings(http_port, transport_port))
            options = folder.config / "jvm.options"
            assert self.java is not None
            options.write_text(jvm_options(options.read_text(), folder.logs, full_jdk=self.java.full_jdk))
            if self.log.is_file():
                self.log.replace(self.log.with_suffix(".log.1"))
            if account is not None:
                # data/ belongs to the account already unless another account was used before.
                for own in (folder.config, folder.data, folder.logs, folder.tmp):
                    _give(own, account)
        except OSError as error:
            raise LocalStackError(
                f"the server's folder cannot be prepared: {error}",
                where=str(folder.path),
                hint="Check who owns the folder and whether the disk is full.",
            ) from error

    def _settings(self, http_port: int, transport_port: int) -> str:
        settings = {
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
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items())

    def _launch(self, home: Path, account: Account | None, http_port: int) -> None:
        assert self.java is not None
        prefix = self.distribution.prefix
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder.tmp),
            "LC_ALL": "C.UTF-8",
            f"{prefix}_JAVA_HOME": str(self.java.home),
            f"{prefix}_PATH_CONF": str(self.folder.config),
            f"{prefix}_TMPDIR": str(self.folder.tmp),
            f"{prefix}_JAVA_OPTS": f"-Xms{self.heap} -Xmx{self.heap}",
        }
        # The folders stand on the command line, not in the file: that is how the process is recognised later.
        command = [
            home / "bin" / self.distribution.flavour,
            f"-Epath.data={self.folder.data}",
            f"-Epath.logs={self.folder.logs}",
        ]
        self._progress(f"Start {self.distribution.flavour} {self.distribution.version}", 0.0)
        self._pid = process.spawn(command, log=self.log, env=environment, cwd=home, account=account)
        self.http_port = http_port
        self.folder.pid.write_text(f"{self._pid}\n")

    def _wait(self, http_port: int) -> None:
        started = self._clock.monotonic()
        step = f"Start {self.distribution.flavour} {self.distribution.version}"
        assert self._pid is not None
        try:
            while True:
                waited = self._clock.monotonic() - started
                if (code := process.exit_code(self._pid)) is not None:
                    raise self._failure(f"ended while starting (exit code {code})")
                health = self.health()
                if health is not None and health.get("status") in ("green", "yellow"):
                    self._progress(step, 1.0)
                    return
                if waited > self._start_timeout:
                    raise self._failure(f"did not answer on port {http_port} within {self._start_timeout:.0f} s")
                self._progress(step, min(0.95, waited / _TYPICAL_START_S))
                self._clock.sleep(0.2)
        except BaseException:
            self.stop(timeout=5.0)
            raise

    def _failure(self, what: str) -> LocalStackError:
        lines = process.tail(self.log)
        shown = "\n".join(f"    {line[:400]}" for line in lines) or "    (it printed nothing)"
        return LocalStackError(
            f"{self.distribution.flavour} {self.distribution.version} {what}; the last it printed:\n{shown}",
            where=str(self.log),
            hint=f"Read the whole log: {self.log}",
        )


def jvm_options(text: str, logs: Path, *, full_jdk: bool) -> str:
    """Return a distribution's ``jvm.options`` with every output in ``logs`` and without what a limited Java lacks."""
    lines = []
    for line in text.splitlines():
        limited = not full_jdk and "--add-modules=jdk.incubator.vector" in line
        if limited and not line.startswith("#"):
            line = f"# {line}"  # the whole line: a prefix such as "20-:" alone stops the server  # noqa: PLW2901
        elif line.startswith("-XX:HeapDumpPath="):
            line = f"-XX:HeapDumpPath={logs}"  # noqa: PLW2901
        elif not line.startswith("#"):
            line = line.replace("=logs/", f"={logs}/")  # noqa: PLW2901
        lines.append(line)
    return "\n".join(lines) + "\n"


def _give(folder: Path, account: Account) -> None:
    os.chown(folder, account.uid, account.gid)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, account.uid, account.gid, follow_symlinks=False)
