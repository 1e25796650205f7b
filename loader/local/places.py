"""Where the local stack keeps its things, and as whom it runs."""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from loader.errors import LocalStackError

_NAME = "cloudtrail-siem"
_READABLE = 0o755


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged user that servers run as when we are root: OpenSearch refuses to run as root."""

    name: str
    uid: int
    gid: int


def service_account() -> Account | None:
    """Return the user to run servers as, or ``None`` when this process is not root.

    Raises:
        LocalStackError: root, and no unprivileged user exists.
    """
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "daemon", "www-data"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise LocalStackError(
        "OpenSearch does not run as root, and there is no user 'nobody' to run it as",
        hint="Run this command as an ordinary user.",
    )


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of the local stack. ``root`` can be entered by :func:`service_account`."""

    root: Path

    @property
    def downloads(self) -> Path:
        """Return where downloaded archives stay."""
        return self.root / "downloads"

    @property
    def servers(self) -> Path:
        """Return where archives are unpacked, once."""
        return self.root / "servers"

    def run(self, name: str) -> Path:
        """Return the folder of the stack ``name``: its data, logs, configuration and state."""
        return self.root / "run" / name


def find_places(cache_dir: Path | None = None) -> Places:
    """Return the folders: below ``cache_dir``, else the user's cache folder; for root ``/var/cache``.

    Root's own home cannot be entered by the user that the server runs as, hence the last.
    """
    if cache_dir is not None:
        return Places(cache_dir.expanduser().resolve())
    if os.geteuid() == 0:
        return Places(Path("/var/cache") / _NAME)
    base = os.environ.get("XDG_CACHE_HOME")
    return Places((Path(base) if base else Path.home() / ".cache") / _NAME)


def make_folder(path: Path, *, owner: Account | None = None) -> Path:
    """Create ``path``; with ``owner`` it belongs to that user.

    Raises:
        LocalStackError: it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=_READABLE)
        if owner is not None:
            os.chown(path, owner.uid, owner.gid)
    except OSError as error:
        raise LocalStackError(
            f"cannot create the folder: {error.strerror}", where=str(path), hint="Set SIEM_CACHE_DIR to another folder."
        ) from None
    return path


def give_to(path: Path, owner: Account | None) -> None:
    """Give ``path`` and everything below it to ``owner``."""
    if owner is None:
        return
    os.chown(path, owner.uid, owner.gid)
    for below in path.rglob("*"):
        os.chown(below, owner.uid, owner.gid, follow_symlinks=False)


def require_disk(path: Path, needed: int, what: str, *, free: int | None = None) -> None:
    """Check that ``needed`` bytes are free where ``path`` is.

    Raises:
        LocalStackError: there is less.
    """
    if free is None:
        there = next(parent for parent in (path, *path.parents) if parent.exists())
        free = shutil.disk_usage(there).free
    if free < needed:
        raise LocalStackError(
            f"{what} needs {needed // 2**20} MiB of disk, {free // 2**20} MiB are free",
            where=str(path),
            hint="Free some space, or set SIEM_CACHE_DIR to a folder on another disk.",
        )


def require_memory(needed: int, what: str, *, available: int | None = None) -> None:
    """Check that ``needed`` bytes of memory are available.

    Raises:
        LocalStackError: there is less.
    """
    if available is None:
        available = _available_memory()
    if available is not None and available < needed:
        raise LocalStackError(
            f"{what} needs {needed // 2**20} MiB of memory, {available // 2**20} MiB are available",
            hint="Close other programs, or give the node a smaller heap with --heap 512m.",
        )


def _available_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
