"""What a person names on this machine: files, what folders hold, pipes; and what is none of these."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loader.errors import SourceError
from loader.source.files import LocalFiles
from loader.source.objects import LOCAL_BUCKET, ObjectRef
from tests.unit.logtypes.samples import dump, real_files, record

RECORDS = dump({"Records": [record()]})
ENVELOPE = dump(
    {
        "messageType": "DATA_MESSAGE",
        "owner": "111122223333",
        "logGroup": "trail",
        "logEvents": [{"id": "1", "timestamp": 0, "message": dump(record()).decode()}],
    }
)


@pytest.fixture
def files() -> Iterator[LocalFiles]:
    with LocalFiles(io.BytesIO(RECORDS)) as made:
        yield made


def names(files: LocalFiles, folder: Path) -> list[str]:
    return [str(Path(ref.key).relative_to(folder.resolve())) for ref in files.below(str(folder))]


@pytest.mark.parametrize(
    ("name", "content", "taken"),
    [
        ("a.json", b"anything", True),
        ("a.JSON", b"anything", True),
        ("a.json.gz", b"anything", True),
        ("c.JSON.GZ", b"anything", True),
        ("a.jsonl", b"anything", True),
        ("a.ndjson", b"anything", True),
        ("a.log.gz", b"anything", True),
        # By what is in it, where the name says nothing: Firehose's have no ending, people's have any.
        ("stream-1-2026-11-01-10-00-00-0a1b", RECORDS, True),
        ("stream-1-2026-11-01-10-00-00-0a1b", gzip.compress(RECORDS), True),
        ("firehose", ENVELOPE + ENVELOPE, True),
        ("firehose", gzip.compress(ENVELOPE) + gzip.compress(ENVELOPE), True),
        ("d.log", dump(record()) + b"\n" + dump(record()), True),
        ("export", b"2026-11-01T10:00:00.000Z " + dump(record()), True),
        ("lines.txt", json.dumps(dump(record()).decode()).encode(), True),
        ("a.json.1", b"\xef\xbb\xbf \n" + RECORDS, True),
        ("big", gzip.compress(RECORDS + os.urandom(300_000).hex().encode()), True),
        # What is none.
        ("access.log", b'127.0.0.1 - - "GET / HTTP/1.1" 200\n', False),
        ("app.log", b'{"level":"info","message":"eventName"}\n', False),
        ("notes.txt", b"see eventVersion", False),
        ("rule.yml", b'detection:\n  "eventName": CreateUser\n', False),
        ("core", b'{"eventName":"x"}\0\0\0', False),
        ("a.json.zst", b"\x28\xb5\x2f\xfd", False),
        ("a.tar.gz", gzip.compress(b"a.json\0\0\0" + RECORDS), False),
        ("a.tgz", gzip.compress(b"a.json\0\0\0" + RECORDS), False),
        ("damaged", b"\x1f\x8b\x08damaged", False),
        ("._a.json", b"\0\5\x16\7", False),
        ("empty", b"", False),
    ],
)
def test_a_folders_log_files_are_told_by_name_or_by_content(
    files: LocalFiles, tmp_path: Path, name: str, content: bytes, taken: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    assert names(files, tmp_path) == ([name] if taken else [])
    others = files.passed_over[str(tmp_path)]
    assert (others.count, others.names) == ((0, []) if taken else (1, [name]))
    # Who names a file means it.
    assert [ref.size for ref in files.below(str(tmp_path / name))] == [len(content)]


def test_what_is_passed_over_is_counted_and_a_few_are_named(files: LocalFiles, tmp_path: Path) -> None:
    below = tmp_path / "case" / "deep"
    below.mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (below / "a.json").write_bytes(RECORDS)
    for name in ("1.txt", "2.txt", "3.txt"):
        (below / name).write_bytes(b"text")
    (tmp_path / "case" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "case" / "nowhere").symlink_to(tmp_path / "none")
    os.mkfifo(tmp_path / "case" / "pipe")
    assert names(files, tmp_path / "case") == ["deep/a.json"]
    others = files.passed_over[str(tmp_path / "case")]
    assert (others.count, others.names) == (6, ["link (a link to a folder)", "nowhere", "pipe"])
    assert files.unreadable == []


def test_what_cannot_be_looked_at_is_kept_with_the_reason(files: LocalFiles, tmp_path: Path) -> None:
    """A loop of links is what not even root can look at."""
    (tmp_path / "a.json").symlink_to("b.json")
    (tmp_path / "b.json").symlink_to("a.json")
    (tmp_path / "c.json").write_bytes(RECORDS)
    assert names(files, tmp_path) == ["c.json"]
    assert [ref.key for ref, _ in files.unreadable] == [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert {error.kind for _, error in files.unreadable} == {"forbidden"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_no_empty_one(files: LocalFiles, tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    assert names(files, tmp_path) == []
    assert [ref.key for ref, _ in files.unreadable] == [str(tmp_path / "shut")]


def test_a_link_to_a_file_is_the_file(files: LocalFiles, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(RECORDS)
    (tmp_path / "b.json").symlink_to("a.json")
    assert names(files, tmp_path) == ["a.json", "a.json"]


@pytest.mark.reference_data
def test_files_as_people_keep_them_are_found(files: LocalFiles, reference_data: Path) -> None:
    found = {ref.key for ref in files.below(str(reference_data))}
    assert found >= {str(path.resolve()) for path in real_files(reference_data)}
    assert not any(key.endswith((".yml", ".md", ".txt")) for key in found)


# --- pipes ----------------------------------------------------------------------------------------------------------


def through_a_pipe(content: bytes) -> int:
    """Return a file descriptor that ``content`` comes through, as a shell makes one for ``<(…)``."""
    ours, theirs = os.pipe()

    def write() -> None:
        with os.fdopen(theirs, "wb") as stream:
            stream.write(content)

    threading.Thread(target=write, daemon=True).start()
    return ours


def named_pipe(folder: Path, content: bytes) -> str:
    path = folder / "pipe"
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    return str(path)


def lost_file(folder: Path, content: bytes) -> int:
    """A here-document of some shells: a file that has no name any more."""
    path = folder / "lost"
    path.write_bytes(content)
    opened = os.open(path, os.O_RDONLY)
    path.unlink()
    return opened


@pytest.mark.parametrize("way", ["-", "/dev/stdin", "pipe", "named pipe", "lost file"])
@pytest.mark.parametrize("size", [1, 300, 3_000_000])
def test_what_comes_through_a_pipe_is_called_by_its_content(
    files: LocalFiles, tmp_path: Path, way: str, size: int
) -> None:
    content = (RECORDS * (size // len(RECORDS) + 1))[:size]
    opened = None
    if way in ("-", "/dev/stdin"):
        files._stdin, target = io.BytesIO(content), way
    elif way == "named pipe":
        target = named_pipe(tmp_path, content)
    else:
        opened = through_a_pipe(content) if way == "pipe" else lost_file(tmp_path, content)
        target = f"/dev/fd/{opened}"
    (ref,) = files.below(target)
    if opened is not None:
        os.close(opened)
    with LocalFiles(io.BytesIO(content)) as again:
        assert list(again.below("-")) == [ref]
    assert (ref.bucket, ref.size, ref.can_be_read_again) == (LOCAL_BUCKET, size, False)
    assert ref.key.startswith("stdin:")
    assert len(ref.key) == len("stdin:") + 32
    # It can be read more than once, and several times at once.
    first, second = files.fetch(ref), files.fetch(ref)
    assert [b"".join(chunks) for chunks in (first, second)] == [content, content]


def test_other_content_is_another_object(files: LocalFiles) -> None:
    (first,) = files.below("-")
    with LocalFiles(io.BytesIO(RECORDS + b"\n")) as others:
        (second,) = others.below("-")
    assert first.key != second.key


def test_the_same_content_twice_is_kept_once(files: LocalFiles, tmp_path: Path) -> None:
    listed = [*files.below("-"), *files.below(named_pipe(tmp_path, RECORDS))]
    assert len(set(listed)) == 1
    assert b"".join(files.fetch(listed[0])) == RECORDS


@pytest.mark.parametrize("target", ["-", "/dev/null"])
def test_nothing_is_no_object(target: str) -> None:
    with LocalFiles(io.BytesIO(b"")) as files:
        assert list(files.below(target)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_pipe_whatever_ends_the_process(tmp_path: Path, number: signal.Signals) -> None:
    code = "import sys; from loader.source.files import LocalFiles; list(LocalFiles(sys.stdin.buffer).below('-'))"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=environment)
    assert process.stdin is not None
    with process:
        # More than the pipe holds: when all is written, it is being copied.
        process.stdin.write(b" " * 3_000_000)
        process.send_signal(number)
        process.wait()
    assert process.returncode == -number
    assert list(tmp_path.iterdir()) == []


class Broken(io.RawIOBase):
    """A pipe that breaks."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise OSError(5, "Input/output error")


def test_a_pipe_that_breaks_is_said() -> None:
    with LocalFiles(io.BufferedReader(Broken())) as files, pytest.raises(SourceError, match="Input/output") as raised:
        list(files.below("-"))
    assert "TMPDIR" in str(raised.value.hint)


# --- what is none of these ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("none.json", "no such file or folder"),
        ("a.json/b.json", "no such file or folder"),
        ("x" * 5000, "File name too long"),
        ("/".join(["x" * 200] * 40), "File name too long"),
        ("/dev/zero", "neither a file nor a folder nor a pipe"),
        ("socket", "neither a file nor a folder nor a pipe"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_no_file_is_said(
    files: LocalFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_bytes(RECORDS)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(SourceError, match=message) as raised:
            list(files.below(target))
    assert raised.value.hint
    assert len(str(raised.value.where)) < 300


def test_a_closed_standard_input_is_none() -> None:
    with LocalFiles(None) as files, pytest.raises(SourceError, match="closed"):
        list(files.below("-"))


def test_a_file_is_fetched_by_its_path(files: LocalFiles, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(RECORDS)
    (ref,) = files.below(str(tmp_path / "a.json"))
    assert ref == ObjectRef(LOCAL_BUCKET, str(tmp_path.resolve() / "a.json"), size=len(RECORDS))
    assert b"".join(files.fetch(ref)) == RECORDS
