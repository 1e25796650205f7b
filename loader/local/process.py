"""Starting a process that may outlive us, and stopping exactly that one later."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from loader.clock import Clock, SystemClock
from loader.errors import LocalStackError
from loader.local.account import Account

# Children of this very process: they must be waited for, or they stay in the process table as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _let_go() -> None:
    """Those that still run outlive us on purpose: no warning about it when the interpreter ends."""
    for child in _children.values():
        if child.poll() is None:
            child.returncode = 0


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str],
    cwd: Path,
    account: Account | None = None,
) -> int:
    """Start ``command`` in a session of its own, with its output appended to ``log``, and return its pid.

    Nothing is inherited but ``env``: no terminal, no file, no group of ours.

    Raises:
        LocalStackError: the system refused.
    """
    try:
        with log.open("ab") as output:
            child: subprocess.Popen[bytes] = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
                umask=0o022,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
    except (OSError, subprocess.SubprocessError) as error:
        as_whom = f" as {account.name!r}" if account else ""
        raise LocalStackError(
            f"could not be started{as_whom}: {error}",
            where=str(command[0]),
            hint="Check that the file exists and may be executed by that user.",
        ) from error
    _children[child.pid] = child
    return child.pid


def command_line(pid: int) -> str:
    """Return the command line of process ``pid``, empty if there is none (or it is a zombie)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return ""
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()


def exit_code(pid: int) -> int | None:
    """Return the exit code of a child of ours that has ended, else None."""
    child = _children.get(pid)
    return None if child is None else child.poll()


def is_ours(pid: int | None, mark: Path) -> bool:
    """Tell whether process ``pid`` runs and is the one started for the folder ``mark``.

    A pid out of a file proves nothing: after a reboot it may be anybody's. Every process started here leads a session
    and has a path below its run folder on its command line, which is what is looked for.
    """
    if pid is None or pid <= 1 or exit_code(pid) is not None:
        return False
    try:
        return os.getsid(pid) == pid and f"{mark}{os.sep}" in command_line(pid)
    except OSError:
        return False


def stop(pid: int, mark: Path, *, timeout: float = 30.0, clock: Clock | None = None) -> bool:
    """Stop process ``pid`` if it is the one started for ``mark``: SIGTERM, and SIGKILL after ``timeout`` seconds.

    Its children are stopped with it: a server's start script, caught half way, has some.

    Returns:
        True if it was running and is stopped; False if there was nothing to stop.

    Raises:
        LocalStackError: it is still there after SIGKILL, or we may not signal it.
    """
    clock = clock or SystemClock()
    if not is_ours(pid, mark):
        return False
    try:
        os.killpg(pid, signal.SIGTERM)  # it leads its group, see spawn()
        if _gone(pid, timeout, clock):
            return True
        os.killpg(pid, signal.SIGKILL)
        if _gone(pid, 10.0, clock):
            return True
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise LocalStackError(
            f"process {pid} belongs to another user",
            where=str(mark),
            hint="Stop it as the user who started it.",
        ) from error
    raise LocalStackError(f"process {pid} does not end", where=str(mark), hint=f"Look at it with: ps -fp {pid}")


def _gone(pid: int, timeout: float, clock: Clock) -> bool:
    deadline = clock.monotonic() + timeout
    while not _ended(pid):
        if clock.monotonic() >= deadline:
            return False
        clock.sleep(0.05)
    return True


def _ended(group: int) -> bool:
    """Tell whether no process of the group holds files or ports any more (memory, and command line, go earlier)."""
    if exit_code(group) is None and group in _children:
        return False
    if not Path("/proc/self").exists():
        try:
            os.killpg(group, 0)
        except OSError:
            return True
        return False
    return not any(_in_group(entry, group) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _in_group(entry: Path, group: int) -> bool:
    try:
        # "4711 (java) S 1 4711 …": state, parent, group. A zombie (Z) is gone but for its entry.
        state, _, found = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return False
    return int(found) == group and state not in ("Z", "X")


def tail(log: Path, lines: int = 20, limit: int = 64 * 1024) -> list[str]:
    """Return the last lines of a log file; none if it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
