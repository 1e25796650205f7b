"""What a stack remembers between commands: ``state.json`` in its run folder."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

FILE = "state.json"


@dataclass(frozen=True, slots=True)
class StackState:
    """The last start of a stack. ``*_pid`` is None for a part that was stopped; ports are kept to be used again."""

    flavour: str
    version: str
    heap: str
    java: str
    started_at: str
    node_port: int | None = None
    node_pid: int | None = None
    aws_port: int | None = None
    aws_pid: int | None = None

    @property
    def has_processes(self) -> bool:
        """Whether it says that something runs; whether that is true is another question."""
        return self.node_pid is not None or self.aws_pid is not None


def load(run_dir: Path) -> StackState | None:
    """Return what is remembered; None if nothing is, or nothing readable (a start cut off, another version's file)."""
    try:
        found: Any = json.loads((run_dir / FILE).read_text())
        return StackState(**{part.name: found[part.name] for part in fields(StackState)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(run_dir: Path, state: StackState) -> None:
    """Write the file: whole or not at all."""
    written = run_dir / f".{FILE}-{os.getpid()}"
    written.write_text(json.dumps(asdict(state), indent=2) + "\n")
    written.replace(run_dir / FILE)
