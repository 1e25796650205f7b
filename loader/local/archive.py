"""Unpacking a zip file that is trusted with nothing but its own folder."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from loader.errors import LocalStackError


def unpack(archive: Path, target: Path, *, keep: Callable[[PurePosixPath], bool] = lambda _path: True) -> None:
    """Unpack ``archive`` as the folder ``target``, which appears complete or not at all.

    The archive's one top folder becomes ``target``. ``keep`` is asked with each path below it. Every folder and file
    can be read by all users: the server may run under another account than the one that unpacks.

    Raises:
        LocalStackError: the archive is broken, holds a path that leads outside, or the disk is full.
    """
    if target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _extract(archive, work, keep)
        work.chmod(0o755)
        try:
            work.rename(target)
        except OSError:
            if not target.is_dir():  # else: somebody else was faster, with the same content
                raise
    except (OSError, zipfile.BadZipFile) as error:
        raise LocalStackError(
            f"cannot be unpacked: {error}",
            where=str(archive),
            hint="Check the free disk space; if there is enough, delete the file and try again.",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(archive: Path, work: Path, keep: Callable[[PurePosixPath], bool]) -> None:
    with zipfile.ZipFile(archive) as source:
        for entry in source.infolist():
            inside = _inside(archive, entry)
            if not inside.parts or not keep(inside):
                continue
            place = work.joinpath(*inside.parts)
            if entry.is_dir():
                _make_folders(place, work)
                continue
            _make_folders(place.parent, work)
            with source.open(entry) as packed, place.open("xb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
            executable = (entry.external_attr >> 16) & 0o111 or inside.parts[0] == "bin"
            place.chmod(0o755 if executable else 0o644)


def _inside(archive: Path, entry: zipfile.ZipInfo) -> PurePosixPath:
    """Return the entry's path below the archive's top folder; refuse whatever could end elsewhere."""
    path = PurePosixPath(entry.filename)
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in entry.filename
        or "\0" in entry.filename
        or stat.S_ISLNK(entry.external_attr >> 16)
    ):
        raise LocalStackError(
            f"holds the path {entry.filename!r}, which leads outside of the folder it is unpacked into",
            where=str(archive),
            hint="Delete the file: it is not the server's distribution.",
        )
    return PurePosixPath(*path.parts[1:])


def _make_folders(folder: Path, root: Path) -> None:
    if folder == root or folder.is_dir():
        return
    _make_folders(folder.parent, root)
    folder.mkdir()
    folder.chmod(0o755)
