"""Writes edges to ``siem-sessions-*`` with the discipline of events: derived ids, ``create``, retries, no loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from loader.identity.documents import document, id_of, index_of
from loader.identity.model import Edge
from loader.index.bulk import BulkWriter, Item
from loader.index.outcomes import Outcome


@dataclass(slots=True)
class WrittenEdges:
    """What became of edges. ``rejected``: those that can never be written, each with the error's type and reason."""

    written: int = 0
    known: int = 0
    rejected: list[tuple[Edge, str, str]] = field(default_factory=list)


class SessionWriter:
    """Writes edges in any order, any number of times."""

    def __init__(self, writer: BulkWriter) -> None:
        self._writer = writer

    def write(self, edges: Sequence[Edge]) -> WrittenEdges:
        """Write ``edges`` and return when each is there, or refused for good.

        Raises:
            HoldError, UnavailableError: as :meth:`loader.index.bulk.BulkWriter.write`; write the same edges again.
        """
        items = [
            Item(number, b"", index_of(edge), id_of(edge), orjson.dumps(document(edge)))
            for number, edge in enumerate(edges, start=1)
        ]
        found = WrittenEdges()
        if not items:
            return found
        for edge, verdict in zip(edges, self._writer.write(items), strict=True):
            if verdict.outcome is Outcome.INDEXED:
                found.written += 1
            elif verdict.outcome is Outcome.DUPLICATE:
                found.known += 1
            else:
                found.rejected.append((edge, verdict.kind, verdict.reason))
        return found
