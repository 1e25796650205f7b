"""The folder one server runs in: its layout, its settings, and who owns it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loader.errors import LocalStackError
from loader.local.account import Account


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
        """The logs the server writes itself."""
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

    @property
    def console(self) -> Path:
        """What the server prints. Beside ``logs/``: in there, its account could turn the file we open into a link."""
        return self.path / "console.log"


def prepare(
    folder: RunFolder, template: Path, settings: Mapping[str, str], *, full_jdk: bool, account: Account | None
) -> None:
    """Lay out ``folder`` for a start: a fresh configuration from ``template``, the old data, the last log kept as one.

    Args:
        folder: what to prepare; created if need be.
        template: the distribution's ``config/``.
        settings: file name of the server's settings ↦ its text.
        full_jdk: False removes what a limited Java cannot do.
        account: who the server runs as, if not us; it gets the folders it writes to.

    Raises:
        LocalStackError: something cannot be written.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.path.chmod(0o755)
        for fresh in (folder.config, folder.tmp):
            if fresh.exists():
                shutil.rmtree(fresh)
        shutil.copytree(template, folder.config)
        for own in (folder.data, folder.logs, folder.tmp):
            own.mkdir(exist_ok=True)
        for name, text in settings.items():
            (folder.config / name).write_text(text)
        options = folder.config / "jvm.options"
        options.write_text(jvm_options(options.read_text(), folder.logs, full_jdk=full_jdk))
        if folder.console.is_file():
            folder.console.replace(folder.console.with_suffix(".log.1"))
        if account is not None:
            for own in (folder.config, folder.data, folder.logs, folder.tmp):
                _give(own, account)
    except (OSError, shutil.Error) as error:
        raise LocalStackError(
            f"the server's folder cannot be prepared: {error}",
            where=str(folder.path),
            hint="Check who owns the folder and whether the disk is full.",
        ) from error


def as_yaml(settings: Mapping[str, str]) -> str:
    """Return flat settings as YAML; a JSON string is one in YAML too."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items())


def jvm_options(text: str, logs: Path, *, full_jdk: bool) -> str:
    """Return a distribution's ``jvm.options`` with every output in ``logs`` and without what a limited Java lacks."""
    return "".join(f"{_option(line, logs, full_jdk)}\n" for line in text.splitlines())


def _option(line: str, logs: Path, full_jdk: bool) -> str:
    if line.startswith("#"):
        return line
    if not full_jdk and "--add-modules=jdk.incubator.vector" in line:
        return f"# {line}"  # the whole line: its prefix alone ("20-:") would stop the server
    if line.startswith("-XX:HeapDumpPath="):
        return f"-XX:HeapDumpPath={logs}"
    return line.replace("=logs/", f"={logs}/")


def _give(folder: Path, account: Account) -> None:
    """Give a folder to an account, unless it is its own already: what the account put there is not to be trusted."""
    if folder.stat().st_uid == account.uid:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, account.uid, account.gid, follow_symlinks=False)
    os.chown(folder, account.uid, account.gid)
