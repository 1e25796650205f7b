"""The local stack: one node and one emulator, described by a state file that commands share."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from loader.clock import rfc3339
from loader.config import Settings
from loader.errors import LocalStackError
from loader.local import process
from loader.local.emulator import answers, aws_environment, start_emulator
from loader.local.node import Node, answering_version
from loader.local.places import Places, find_places, make_folder

Step = Callable[[str], None]


class StackState(msgspec.Struct, frozen=True):
    """What runs where. Kept as ``state.json`` in the run folder."""

    opensearch_url: str
    opensearch_pid: int
    opensearch_version: str
    java: str
    heap: str
    aws_endpoint_url: str
    aws_pid: int
    started: str

    def aws_environment(self) -> dict[str, str]:
        """Return the environment for AWS clients of this stack's emulator."""
        return aws_environment()


class LocalStack:
    """Starts, finds and stops the stack called ``name``."""

    def __init__(
        self, name: str = "default", *, settings: Settings | None = None, places: Places | None = None
    ) -> None:
        self._places = places or find_places(settings.cache_dir if settings else None)
        self.run = self._places.run(name)

    @property
    def logs(self) -> Path:
        """Return the folder of the servers' logs."""
        return self.run / "logs"

    @property
    def data(self) -> Path:
        """Return the folder of the node's data."""
        return self.run / "data"

    def running_state(self) -> StackState | None:
        """Return the state if both servers run and answer, else ``None``."""
        state = self._read_state()
        if state is None or not self._alive(state):
            return None
        return state

    def up(self, *, heap: str = "1g", step: Step = lambda _: None) -> StackState:
        """Start what does not run yet. Safe to call at any time, and by two commands at once.

        Raises:
            LocalStackError: see :meth:`loader.local.node.Node.start`.
        """
        with self._locked():
            state = self.running_state()
            if state is not None:
                return state
            self._stop_remains()
            node = Node(self._places, self.run, heap=heap).start(step)
            try:
                step("Starting the S3 and SQS emulator")
                emulator = start_emulator(self.run)
            except BaseException:
                process.stop(node.pid, str(self.run))
                raise
            state = StackState(
                opensearch_url=node.url,
                opensearch_pid=node.pid,
                opensearch_version=node.version,
                java=node.java,
                heap=heap,
                aws_endpoint_url=emulator.url,
                aws_pid=emulator.pid,
                started=rfc3339(datetime.now(timezone.utc)),
            )
            self._state_file.write_bytes(msgspec.json.encode(state))
            return state

    def down(self, *, delete: bool = False) -> bool:
        """Stop what runs; with ``delete`` remove its data, logs and state too. Return whether anything ran.

        The node's data stays otherwise, and is there again after the next start; the emulator's is lost.
        """
        with self._locked():
            ran = self._stop_remains()
        if delete:
            shutil.rmtree(self.run, ignore_errors=True)
        return ran

    @property
    def _state_file(self) -> Path:
        return self.run / "state.json"

    def _read_state(self) -> StackState | None:
        try:
            return msgspec.json.decode(self._state_file.read_bytes(), type=StackState)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            # Written by another version: what it described cannot be trusted, so it is not ours to stop.
            self._state_file.unlink(missing_ok=True)
            return None

    def _alive(self, state: StackState) -> bool:
        mark = str(self.run)
        if not process.is_ours(state.opensearch_pid, mark) or not process.is_ours(state.aws_pid, mark):
            return False
        return answering_version(state.opensearch_url) is not None and answers(state.aws_endpoint_url)

    def _stop_remains(self) -> bool:
        state = self._read_state()
        if state is None:
            return False
        mark = str(self.run)
        ran = False
        for pid in (state.aws_pid, state.opensearch_pid):
            ran = ran or process.is_ours(pid, mark)
            process.stop(pid, mark)
        self._state_file.unlink(missing_ok=True)
        return ran

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self.run)
        with (self.run / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LocalStackError(
                    "another command is starting or stopping this stack",
                    where=str(self.run),
                    hint="Wait for it to end.",
                ) from None
            yield
