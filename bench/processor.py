"""Processor time of another process. Not a benchmark itself."""

from __future__ import annotations

import os
from pathlib import Path


def processor_seconds(pid: int | None) -> float:
    """Return what a process and its children have used so far; 0 where the system does not tell in Linux's way.

    Elasticsearch's server is a child of its launcher.
    """
    ticks = 0
    waiting = [str(pid)]
    while waiting:
        process = Path("/proc") / waiting.pop()
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
            for task in (process / "task").iterdir():
                waiting += (task / "children").read_text().split()
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")
