"""Sessions on the way: who was given which credential, written before an object is acknowledged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from loader.identity.extract import comes_from_issuer, edges
from loader.identity.model import Edge
from loader.identity.writer import SessionWriter
from loader.index.parked import DeadLetter, DeadLetterOffice
from loader.source.objects import ObjectRef

#: One of these is in every record that issues a credential: what has none is not parsed again.
MARKS: Final = (b'"AssumeRo', b'"GetFederationToken"', b'"GetSessionToken"', b'"GetRoleCredentials"', b'"SwitchRole"')


def edges_of(raw: bytes) -> list[Edge]:
    """Return the edges of one raw record; of nearly all records there are none."""
    # The first question is answered in the middle of the record, the second only at its end.
    return edges(raw) if comes_from_issuer(raw) and any(mark in raw for mark in MARKS) else []


class SessionKeeper:
    """Writes edges, and parks those that can never be written. The equation counts records, and these are none."""

    def __init__(self, writer: SessionWriter, dead_letters: DeadLetterOffice) -> None:
        self._writer = writer
        self._dead_letters = dead_letters

    def keep(self, ref: ObjectRef, found: Iterable[Edge]) -> None:
        """Write ``found`` and return when each edge is there.

        Raises:
            HoldError, ClusterError: as the bulk writer does; the object must not be acknowledged.
        """
        listed = list(found)
        if not listed:
            return
        rejected = self._writer.write(listed).rejected
        self._dead_letters.write(
            [DeadLetter(ref, "sessions", kind, reason, repr(edge).encode()) for edge, kind, reason in rejected]
        )
