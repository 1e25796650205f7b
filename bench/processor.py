"""What other processes cost: read where Linux tells it. Not a benchmark itself."""

from __future__ import annotations

import os
from pathlib import Path


def processor_seconds(pid: int | None) -> float:
    """Return what a process has used so far; 0 where the system does not tell in Linux's way."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
