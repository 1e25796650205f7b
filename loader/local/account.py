"""Which operating system account the search server runs under."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from loader.errors import LocalStackError

_CANDIDATES = ("nobody", "daemon", "games")


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account: name, user id, group id."""

    name: str
    uid: int
    gid: int


def service_account() -> Account | None:
    """Return the account to start the server under, or None for "the one we run as".

    OpenSearch refuses to run as root, so as root another account is looked for; any other user starts it as itself.

    Raises:
        LocalStackError: we are root and the machine has no unprivileged account.
    """
    if os.geteuid() != 0:
        return None
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    for entry in pwd.getpwall():
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise LocalStackError(
        "the search server must not run as root, and no other account was found",
        where="/etc/passwd",
        hint="Create an unprivileged user, or run this command as one.",
    )


def blocked_at(path: Path, account: Account) -> Path | None:
    """Return the first folder on the way to ``path`` that ``account`` cannot enter, or None if it can come in."""
    resolved = path.resolve()
    for folder in [*reversed(resolved.parents), resolved]:
        if not folder.exists():
            return None
        facts = folder.stat()
        if facts.st_uid == account.uid:
            allowed = facts.st_mode & stat.S_IXUSR
        elif facts.st_gid == account.gid:
            allowed = facts.st_mode & stat.S_IXGRP
        else:
            allowed = facts.st_mode & stat.S_IXOTH
        if not allowed:
            return folder
    return None
