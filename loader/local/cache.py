"""Where the local stack keeps what it downloads, unpacks and writes."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loader.config import Settings
from loader.errors import LocalStackError
from loader.local.account import Account, blocked_at

FOLDER = "cloudtrail-siem"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def default_root() -> Path:
    """Return the cache folder when no setting names one.

    root's own home cannot be entered by the account the server runs under, hence ``/var/cache`` for root.

    Raises:
        LocalStackError: the user has no home.
    """
    if os.geteuid() == 0:
        return Path("/var/cache") / FOLDER
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / FOLDER
    try:
        return Path.home() / ".cache" / FOLDER
    except RuntimeError as error:
        raise LocalStackError(
            "there is no home folder to keep downloads and data in",
            where="HOME",
            hint="Set SIEM_CACHE_DIR to a folder you may write to.",
        ) from error


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache folder: ``downloads/``, the unpacked servers, and ``run/<name>`` for each stack."""

    root: Path

    @classmethod
    def of(cls, settings: Settings) -> Cache:
        """Return the cache that ``settings.cache_dir`` names, else the default one. Nothing is created.

        Raises:
            LocalStackError: no folder is named, and the user has no home.
        """
        named = settings.cache_dir
        # Path(".") is what an empty variable becomes.
        root = default_root() if named is None or named == Path() else named
        return cls(Path(os.path.abspath(root.expanduser())))  # noqa: PTH100 - resolve() would follow links

    @property
    def downloads(self) -> Path:
        """The folder of verified downloads."""
        return self.root / "downloads"

    @property
    def runs(self) -> Path:
        """The folder of the stacks."""
        return self.root / "run"

    def run_dir(self, name: str) -> Path:
        """Return the folder of the stack ``name``.

        Raises:
            LocalStackError: the name cannot be a folder's name.
        """
        if not _NAME.fullmatch(name):
            raise LocalStackError(
                f"{name!r} cannot name a local stack",
                hint="Use up to 63 lower-case letters, digits, '-' and '_'.",
            )
        return self.runs / name

    def prepare(self, account: Account | None) -> None:
        """Create the folders, and make sure that ``account`` (None: ourselves) can enter them.

        Raises:
            LocalStackError: a folder cannot be created or entered, or its path cannot be used.
        """
        if any(character.isspace() for character in str(self.root)):
            # The server's own start scripts split its options at spaces.
            raise LocalStackError(
                "the cache folder's path has a space in it, which the server's start script cannot handle",
                where=str(self.root),
                hint="Set SIEM_CACHE_DIR to a folder without spaces in its path.",
            )
        try:
            for folder in (self.root, self.downloads, self.runs):
                if not folder.is_dir():
                    folder.mkdir(parents=True)
                    folder.chmod(0o755)
        except OSError as error:
            raise LocalStackError(
                f"the cache folder cannot be created: {error.strerror}",
                where=str(self.root),
                hint="Set SIEM_CACHE_DIR to a folder you may write to.",
            ) from error
        if account is not None and (blocked := blocked_at(self.root, account)) is not None:
            raise LocalStackError(
                f"the server runs as {account.name!r}, which may not enter {blocked}",
                where=str(self.root),
                hint="Set SIEM_CACHE_DIR to a folder every user may enter, such as one under /var/cache.",
            )

    @contextmanager
    def lock(self, name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[Path]:
        """Hold the lock ``name`` against other processes; if it is taken, say so by ``waiting`` and wait.

        Yields the lock's file, which its holder may delete.

        Raises:
            LocalStackError: the file cannot be opened.
        """
        path = self.root / f".{name}.lock"
        descriptor = _open_locked(path, waiting)
        try:
            yield path
        finally:
            os.close(descriptor)


def _open_locked(path: Path, waiting: Callable[[], None]) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LocalStackError(
                f"the lock cannot be taken: {error.strerror}",
                where=str(path),
                hint="Run the command as the user who owns the folder, or set SIEM_CACHE_DIR to one of your own.",
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Its holder may have deleted it while we waited: then this lock keeps nobody out.
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
