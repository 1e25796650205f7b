"""What a person names on this machine as objects: files, what folders hold, and pipes."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from loader.errors import SourceError
from loader.source.decompress import decompress
from loader.source.fetch import file_fetch
from loader.source.objects import LOCAL_BUCKET, ObjectRef
from loader.source.piped import Piped

#: Names of standard input.
STANDARD_INPUT: Final = frozenset({"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})
#: Endings of log files' names. An archive of files is none.
_LOG_NAMES: Final = (".json", ".jsonl", ".ndjson", ".gz")
_ARCHIVE: Final = ".tar.gz"
#: What macOS puts beside a file on a foreign disk, under the file's name.
_SHADOW: Final = "._"
#: Bytes as stored that are looked at in a file whose name says nothing.
_HEAD: Final = 64 * 2**10
#: Whatever form records come in, one of these is near the beginning; in a log of text lines they are quoted themselves.
_KEY: Final = re.compile(rb'\\?"(?:Records|logEvents|eventVersion|eventSource|eventName)\\?"\s*:')
_BEGINNING: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*[{\["0-9]')
_NAMED: Final = 3
#: Letters of a name in an error.
_SHOWN: Final = 200
_IN_S3: Final = "A place in S3 is written s3://bucket/prefix."
_ENDLESS: Final = "A device has no end: give a file, a folder or a pipe."
_LONG: Final = "Are these several names in one pair of quotes? Give them one by one."


@dataclass(slots=True)
class PassedOver:
    """What a folder holds beside log files: how much it is, and the names of a few, as they stand below it."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def note(self, name: str) -> None:
        """Count one."""
        self.count += 1
        if len(self.names) < _NAMED:
            self.names.append(name)


class LocalFiles:
    """Lists what people name and fetches it. Pipes are kept until the ``with`` block ends.

    ``passed_over`` is filled while a folder is listed, by the folder, and ``unreadable`` with what could not even be
    looked at.
    """

    def __init__(self, stdin: IO[bytes] | None) -> None:
        self._stdin = stdin
        self._piped: dict[str, Piped] = {}
        self.passed_over: dict[str, PassedOver] = {}
        self.unreadable: list[tuple[ObjectRef, SourceError]] = []

    def __enter__(self) -> LocalFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for piped in self._piped.values():
            piped.close()

    def fetch(self, ref: ObjectRef) -> Iterator[bytes]:
        """Yield an object's bytes.

        Raises:
            FetchError: ``missing`` or ``forbidden``.
        """
        piped = self._piped.get(ref.key)
        return piped.chunks() if piped is not None else file_fetch(ref)

    def below(self, target: str) -> Iterator[ObjectRef]:
        """Yield the objects that ``target`` names: a file, whatever it is called; the log files of a folder, walked to
        any depth, in order; or what comes through a pipe, which is read to its end first.

        In a folder, a file is a log file by its name (``.json``, ``.jsonl``, ``.ndjson``, ``.gz``) or, whatever it is
        called, if CloudTrail's keys stand at its beginning: Firehose's objects have no ending, people's have any. Links
        to folders are not followed.

        Raises:
            SourceError: there is no such file or folder, it is a device, or a pipe breaks.
        """
        if target in STANDARD_INPUT:
            if self._stdin is None:
                raise SourceError("standard input is closed", kind="missing", where=target)
            yield from self._keep(self._stdin, target)
            return
        path, shown = Path(target), target if len(target) <= _SHOWN else f"{target[:_SHOWN]}…"
        try:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                yield from self._folder(path, target)
            elif stat.S_ISREG(mode) and path.resolve().exists():
                yield _ref(path)
            elif _is_stream(path, mode):
                with path.open("rb") as stream:
                    yield from self._keep(stream, target)
            else:
                raise SourceError("neither a file nor a folder nor a pipe", kind="missing", where=shown, hint=_ENDLESS)
        except (FileNotFoundError, NotADirectoryError):
            raise SourceError("no such file or folder", kind="missing", where=shown, hint=_IN_S3) from None
        except OSError as error:
            hint = _LONG if error.errno == errno.ENAMETOOLONG else None
            raise SourceError(_text(error), kind="forbidden", where=shown, hint=hint) from None

    def _keep(self, stream: IO[bytes], target: str) -> Iterator[ObjectRef]:
        piped = Piped(stream, where=target)
        if piped.ref.key in self._piped or not piped.ref.size:
            piped.close()
        if piped.ref.size:
            self._piped.setdefault(piped.ref.key, piped)
            yield piped.ref

    def _folder(self, folder: Path, target: str) -> Iterator[ObjectRef]:
        others = self.passed_over.setdefault(target, PassedOver())
        for at, folders, names in os.walk(folder, onerror=self._cannot):
            folders.sort()
            here = Path(at)
            for name in folders:
                if (here / name).is_symlink():
                    others.note(f"{_below(here / name, folder)} (a link to a folder)")
            for name in sorted(names):
                path = here / name
                try:
                    if _is_log(path):
                        yield _ref(path)
                        continue
                except FileNotFoundError:  # a link to nothing
                    pass
                except OSError as error:
                    self._cannot(error)
                    continue
                others.note(_below(path, folder))

    def _cannot(self, error: OSError) -> None:
        path = os.fsdecode(error.filename)
        self.unreadable.append((ObjectRef(LOCAL_BUCKET, path), SourceError(_text(error), kind="forbidden", where=path)))


def _ref(path: Path) -> ObjectRef:
    real = path.resolve()
    return ObjectRef(LOCAL_BUCKET, str(real), size=real.stat().st_size)


def _is_stream(path: Path, mode: int) -> bool:
    """Tell whether something has an end: a pipe, or a file that has lost its name. Devices have none, but for one."""
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and path.samefile(os.devnull))


def _is_log(path: Path) -> bool:
    """Tell whether a file in a folder is a log file.

    Raises:
        OSError: it cannot be looked at.
    """
    if not stat.S_ISREG(path.stat().st_mode) or path.name.startswith(_SHADOW):
        return False
    name = path.name.lower()
    if name.endswith(_LOG_NAMES) and not name.endswith(_ARCHIVE):
        return True
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    try:
        content = next(decompress([head]), b"")
    except SourceError:
        return False
    return b"\0" not in content and _BEGINNING.match(content) is not None and _KEY.search(content) is not None


def _below(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder))


def _text(error: OSError) -> str:
    return error.strerror or str(error)
