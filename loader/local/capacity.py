"""Whether the machine has what a server needs: memory and disk."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from loader.errors import LocalStackError

MIB = 1 << 20
GIB = 1 << 30

#: What a server needs beside its heap: class data, threads, network buffers.
BESIDE_HEAP = 512 * MIB

_HEAP = re.compile(r"([1-9]\d*)([mg])", re.IGNORECASE)
_CGROUP = Path("/sys/fs/cgroup")


def heap_bytes(heap: str) -> int:
    """Return the size that ``512m`` or ``2g`` stands for, in bytes.

    Raises:
        LocalStackError: it is written otherwise, or less than a server can start with (256 MiB).
    """
    match = _HEAP.fullmatch(heap)
    size = int(match[1]) * (GIB if match[2].lower() == "g" else MIB) if match else 0
    if size < 256 * MIB:
        raise LocalStackError(f"{heap!r} is no usable heap size", hint="Give it as 512m or 2g; at least 256m.")
    return size


def available_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = _CGROUP) -> int | None:
    """Return the bytes of memory a new process can get, or None where the system does not say."""
    found = _from_meminfo(meminfo)
    limit = _from_cgroup(cgroup)
    known = [value for value in (found, limit) if value is not None]
    return min(known) if known else None


def _from_meminfo(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _from_cgroup(folder: Path) -> int | None:
    """Return what is left of a container's limit (cgroup v2); page cache counts as used there, but can be had back."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((folder / "memory.current").read_text())
        cached = 0
        for line in (folder / "memory.stat").read_text().splitlines():
            key, _, value = line.partition(" ")
            if key in ("inactive_file", "active_file"):
                cached += int(value)
        return max(0, int(limit) - used + cached)
    except (OSError, ValueError):
        return None


def check_memory(heap: str, *, available: Callable[[], int | None] = available_memory) -> None:
    """Make sure that a server with this heap fits into memory.

    Raises:
        LocalStackError: it does not; the message has the figures.
    """
    needed = heap_bytes(heap) + BESIDE_HEAP
    there = available()
    if there is not None and there < needed:
        raise LocalStackError(
            f"not enough memory: {mib(needed)} needed (heap {heap} and {mib(BESIDE_HEAP)} beside it), "
            f"{mib(there)} available",
            where="memory",
            hint="Close other programs, or choose a smaller heap.",
        )


def check_disk(folder: Path, needed: int, *, free: Callable[[Path], int] | None = None) -> None:
    """Make sure that ``needed`` bytes can be written below ``folder``, which may not exist yet.

    Raises:
        LocalStackError: they cannot; the message has the figures.
    """
    existing = next(place for place in (folder, *folder.parents) if place.is_dir())
    there = free(existing) if free is not None else shutil.disk_usage(existing).free
    if there < needed:
        raise LocalStackError(
            f"not enough disk: {mib(needed)} needed, {mib(there)} free",
            where=str(folder),
            hint="Free some space, or set SIEM_CACHE_DIR to a folder on a larger disk.",
        )


def mib(size: int) -> str:
    """Return ``size`` bytes in MiB, for people."""
    return f"{size / MIB:,.0f} MiB"
