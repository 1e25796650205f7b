"""What is raised inside the backend when a value cannot mean what the rule says."""

from __future__ import annotations

from sigma.exceptions import SigmaError


class UnsupportedError(SigmaError):
    """A condition that cannot be expressed. A SigmaError, so that sigma-cli shows it as it shows its own.

    ``line`` is the line in the rule's file, where it is known; ``hint`` is the next step.
    """

    def __init__(self, reason: str, *, hint: str | None = None, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.line = line
