from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loader.errors import LocalStackError
from loader.local import process

STUBBORN = (
    "import signal,sys,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)


def start(run: Path, code: str = "import time; print('up', flush=True); time.sleep(60)") -> int:
    log = run / "log"
    pid = process.spawn([sys.executable, "-c", code, f"{run}/x"], log=log, env={}, cwd=run)
    deadline = time.monotonic() + 20
    while "up" not in process.tail(log):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return pid


def test_a_process_is_recognised_and_stopped(tmp_path: Path) -> None:
    pid = start(tmp_path)
    assert process.is_ours(pid, tmp_path)
    assert os.getsid(pid) == pid
    assert process.stop(pid, tmp_path)
    assert not process.is_ours(pid, tmp_path)
    assert process.exit_code(pid) == -signal.SIGTERM
    assert not process.stop(pid, tmp_path)


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    pid = start(tmp_path, STUBBORN)
    assert process.stop(pid, tmp_path, timeout=0.3)
    assert process.exit_code(pid) == -signal.SIGKILL


def test_what_it_started_is_stopped_with_it(tmp_path: Path) -> None:
    child = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    code = f"import subprocess,sys; print(subprocess.Popen([sys.executable, '-c', {child!r}, 'marked']).pid)"
    pid = start(tmp_path, f"{code}; print('up', flush=True); import time; time.sleep(60)")
    started = int(process.tail(tmp_path / "log")[0])
    assert process.stop(pid, tmp_path, timeout=0.5)
    assert "marked" not in process.command_line(started)


def test_a_pid_that_is_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path / "mine-too" / "x")]
    ) as other:
        assert not process.is_ours(other.pid, tmp_path / "mine")
        assert not process.stop(other.pid, tmp_path / "mine")
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("pid", [None, 0, 1, -1])
def test_what_is_no_process_of_ours_is_never_signalled(tmp_path: Path, pid: int | None) -> None:
    assert not process.is_ours(pid, Path("/"))


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match="could not be started"):
        process.spawn([tmp_path / "absent"], log=tmp_path / "log", env={}, cwd=tmp_path)


def test_the_environment_is_only_what_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    pid = start(tmp_path, "import os,time; print(sorted(os.environ)); print('up', flush=True); time.sleep(60)")
    assert "AWS_SECRET_ACCESS_KEY" not in "".join(process.tail(tmp_path / "log"))
    process.stop(pid, tmp_path)


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100_000 + b"\n" + b"".join(b"line %d\n" % number for number in range(100)) + b"\xff\n")
    assert process.tail(log, 3) == ["line 98", "line 99", "\ufffd"]
    assert process.tail(tmp_path / "absent") == []
