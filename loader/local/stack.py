"""The local stack: a search server and an AWS emulator under one name, brought up and down together."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from loader.clock import Clock, SystemClock, rfc3339
from loader.config import Settings, read_settings
from loader.errors import LocalStackError
from loader.local import process
from loader.local.aws import AwsEmulator, environment
from loader.local.cache import Cache
from loader.local.distribution import OPENSEARCH, Distribution, Progress, silent
from loader.local.java import Java
from loader.local.node import OpenSearchNode
from loader.local.state import StackState, load, save


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One process of the stack. ``url`` and ``pid`` are None while it does not run."""

    running: bool
    url: str | None
    pid: int | None
    log: Path


@dataclass(frozen=True, slots=True)
class StackStatus:
    """What there is to tell about a stack. ``disk_used`` is in bytes; texts are None if it was never started."""

    name: str
    node: ServiceStatus
    aws: ServiceStatus
    flavour: str | None
    version: str | None
    heap: str | None
    java: str | None
    started_at: str | None
    run_dir: Path
    data_dir: Path
    disk_used: int
    notes: tuple[str, ...]

    @property
    def running(self) -> bool:
        """Whether both processes run."""
        return self.node.running and self.aws.running

    @property
    def log_files(self) -> tuple[Path, ...]:
        """The logs that exist."""
        return tuple(log for log in (self.node.log, self.aws.log) if log.is_file())

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point this project, and boto3, at what runs."""
        found = environment(self.aws.url) if self.aws.url else {}
        return {**found, "SIEM_CLUSTER_URL": self.node.url} if self.node.url else found


class LocalStack:
    """One named stack on this machine. Any process may bring it up and any other take it down."""

    def __init__(
        self,
        name: str = "default",
        *,
        settings: Settings | None = None,
        heap: str = "1g",
        distribution: Distribution = OPENSEARCH,
        java: Java | None = None,
        progress: Progress = silent,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.cache = Cache.of(settings if settings is not None else read_settings())
        self.run_dir = self.cache.run_dir(name)
        self._clock = clock or SystemClock()
        self._distribution = distribution
        self._progress = progress
        self.node = OpenSearchNode(
            self.run_dir,
            self.cache,
            heap=heap,
            distribution=distribution,
            java=java,
            progress=progress,
            clock=self._clock,
        )
        self.aws = AwsEmulator(self.run_dir, progress=progress, clock=self._clock)

    def up(self) -> StackStatus:
        """Bring both processes up, reuse those that run, and return the status.

        The server's data is that of the last time; the emulator starts empty. What this call started is stopped again
        if it fails.

        Raises:
            LocalStackError: something the stack needs is missing or failed.
        """
        self.cache.prepare(None)
        with self.cache.lock(f"stack-{self.name}", self._say_waiting):
            before = self._attach()
            if before is not None and before.flavour != self._distribution.flavour and self._has_data():
                raise LocalStackError(
                    f"the stack {self.name!r} has the data of {before.flavour}",
                    where=str(self.run_dir),
                    hint="Take it down with its data, or use another name.",
                )
            started: list[OpenSearchNode | AwsEmulator] = []
            try:
                if self.node.health() is None:
                    self.node.stop()  # there, but deaf
                    started.append(self.node)
                    self.node.start(before.node_port if before else None)
                if not self.aws.answers():
                    self.aws.stop()
                    started.append(self.aws)
                    self.aws.start(before.aws_port if before else None)
                save(self.run_dir, self._state(before, fresh_node=self.node in started))
            except BaseException:
                for part in started:
                    part.stop()
                raise
            return self.status()

    def down(self, *, delete_data: bool = False) -> StackStatus:
        """Stop what runs, and remove the whole run folder if asked; return the status after it.

        Raises:
            LocalStackError: a process does not end, or belongs to another user.
        """
        self.cache.prepare(None)
        with self.cache.lock(f"stack-{self.name}", self._say_waiting) as lock:
            before = self._attach()
            self._progress("Stop", None)
            self.aws.stop()
            self.node.stop()
            if before is not None:
                save(self.run_dir, replace(before, node_pid=None, aws_pid=None))
            if delete_data and self.run_dir.is_dir():
                try:
                    shutil.rmtree(self.run_dir)
                    lock.unlink(missing_ok=True)
                except OSError as error:
                    raise LocalStackError(
                        f"the data cannot be removed: {error.strerror}",
                        where=str(self.run_dir),
                        hint="Remove the folder as the user who owns it.",
                    ) from error
            return self.status()

    def status(self) -> StackStatus:
        """Return what runs and where. Changes nothing."""
        state = self._attach()
        node_pid, aws_pid = self.node.pid, self.aws.pid
        notes = ["OpenSearch's data outlives a stop; what is in S3 and SQS does not: the emulator keeps it in memory."]
        if state is not None and state.has_processes and node_pid is None and aws_pid is None:
            notes.append("It ended without being stopped (a reboot, or it was killed).")
        return StackStatus(
            name=self.name,
            node=ServiceStatus(node_pid is not None, self.node.url if node_pid else None, node_pid, self.node.log),
            aws=ServiceStatus(aws_pid is not None, self.aws.url if aws_pid else None, aws_pid, self.aws.log),
            flavour=state.flavour if state else None,
            version=state.version if state else None,
            heap=state.heap if state else None,
            java=state.java if state else None,
            started_at=state.started_at if state else None,
            run_dir=self.run_dir,
            data_dir=self.node.folder.data,
            disk_used=_size(self.run_dir),
            notes=tuple(notes),
        )

    def _attach(self) -> StackState | None:
        """Take over what the state file names, as far as these processes are still the ones that were started."""
        state = load(self.run_dir)
        if state is None:
            return None
        for part, pid, port in (
            (self.node, state.node_pid, state.node_port),
            (self.aws, state.aws_pid, state.aws_port),
        ):
            if pid is not None and port is not None and process.is_ours(pid, self.run_dir):
                part.attach(pid, port)
        return state

    def _state(self, before: StackState | None, *, fresh_node: bool) -> StackState:
        java = self.node.java
        if before is None or fresh_node:
            before = StackState(
                flavour=self._distribution.flavour,
                version=self._distribution.version,
                heap=self.node.heap,
                java=f"{java.version} ({java.path})" if java else "unknown",
                started_at=rfc3339(self._clock.now()),
            )
        return replace(
            before,
            node_port=self.node.http_port,
            node_pid=self.node.pid,
            aws_port=self.aws.port,
            aws_pid=self.aws.pid,
        )

    def _say_waiting(self) -> None:
        self._progress("Wait for the other command that starts or stops this stack", None)

    def _has_data(self) -> bool:
        return self.node.folder.data.is_dir() and any(self.node.folder.data.iterdir())


def _size(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(parent) / name).lstat().st_size
            except OSError:
                continue  # deleted meanwhile, as a running server does
    return total
