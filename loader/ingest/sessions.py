"""Sessions on the way: who was given which credential, written before an object is acknowledged."""

from __future__ import annotations

from collections.abc import Sequence

from loader.identity.model import Edge
from loader.identity.writer import SessionWriter
from loader.index.parked import DeadLetter, DeadLetterOffice
from loader.source.objects import ObjectRef


class SessionKeeper:
    """Writes edges, and parks those that can never be written. The equation counts records, and these are none."""

    def __init__(self, writer: SessionWriter, dead_letters: DeadLetterOffice) -> None:
        self._writer = writer
        self._dead_letters = dead_letters

    def keep(self, found: Sequence[tuple[ObjectRef, Edge]]) -> None:
        """Write edges, each with the object it was found in, and return when each is there.

        Raises:
            HoldError, ClusterError: as the bulk writer does; the objects must not be acknowledged.
        """
        if not found:
            return
        rejected = self._writer.write([edge for _, edge in found]).rejected
        if rejected:
            refs = {id(edge): ref for ref, edge in found}
            self._dead_letters.write(
                [
                    DeadLetter(refs[id(edge)], "sessions", kind, reason, repr(edge).encode())
                    for edge, kind, reason in rejected
                ]
            )
