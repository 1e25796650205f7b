"""Where edges are looked up: in memory, or in ``siem-sessions-*``. Both answer every question alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.errors import ClusterError
from loader.identity.documents import SESSIONS, edge_of, id_of
from loader.identity.model import Edge, Identity
from loader.identity.times import text_of

#: How far clocks may differ between the service that issues a credential and the one that sees it used; seconds.
SKEW_S: Final = 5
#: Edges that one question may find. A session name in use that often at one moment says nothing about anybody.
LIMIT: Final = 500

#: What an edge can be looked up by.
By = Literal["issued.access_key_id", "issued.principal_id", "issued.arn", "shared_event_id"]
#: What callers can be looked up by, and by what they are then told apart.
CallerBy = Literal["principal_id", "arn"]
_TOLD_APART: Final[dict[CallerBy, CallerBy]] = {"principal_id": "arn", "arn": "principal_id"}


@dataclass(frozen=True, slots=True)
class Found:
    """The edges found, in no order; ``complete`` is false if there are more than :data:`LIMIT`."""

    edges: tuple[Edge, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Sighting:
    """A caller as some record described it, and when it was last described so (epoch seconds)."""

    caller: Identity
    last: int | None


class SessionStore(Protocol):
    """What the resolver asks."""

    def find(self, by: By, value: str, at: int | None = None) -> Found:
        """Return the edges whose ``by`` is ``value``; with ``at``, those valid then, or of unknown validity."""

    def callers(self, by: CallerBy, value: str) -> list[Sighting]:
        """Return callers by principal id, one for each ARN they had; or by ARN, one for each principal id."""


class MemoryStore:
    """Edges in this process: for tests, and for reading files without a cluster."""

    def __init__(self, edges: Iterable[Edge] = ()) -> None:
        self._edges: dict[str, Edge] = {}
        self._index: dict[tuple[By, str], list[Edge]] = {}
        self._callers: dict[tuple[CallerBy, str], list[Edge]] = {}
        self.add(edges)

    def add(self, edges: Iterable[Edge]) -> None:
        """Add ``edges``; one that is known changes nothing."""
        for edge in edges:
            if self._edges.setdefault(id_of(edge), edge) is not edge:
                continue
            keys: list[tuple[By, str | None]] = [
                ("issued.access_key_id", edge.issued.access_key_id),
                ("issued.principal_id", edge.issued.principal_id),
                ("issued.arn", edge.issued.arn),
                ("shared_event_id", edge.shared_event_id),
            ]
            for by, value in keys:
                if value:
                    self._index.setdefault((by, value), []).append(edge)
            for caller_by in _TOLD_APART:
                if value := getattr(edge.caller, caller_by):
                    self._callers.setdefault((caller_by, value), []).append(edge)

    def find(self, by: By, value: str, at: int | None = None) -> Found:
        """See :class:`SessionStore`."""
        edges = [edge for edge in self._index.get((by, value), ()) if at is None or _valid(edge, at)]
        return Found(tuple(edges[:LIMIT]), len(edges) <= LIMIT)

    def callers(self, by: CallerBy, value: str) -> list[Sighting]:
        """See :class:`SessionStore`."""
        apart = _TOLD_APART[by]
        latest: dict[str, Sighting] = {}
        edges = self._callers.get((by, value), ())
        for edge in sorted(edges, key=lambda edge: (edge.start is not None, edge.start or 0)):
            if key := getattr(edge.caller, apart):
                latest[key] = Sighting(edge.caller, edge.start)
        return list(latest.values())[-LIMIT:]


def _valid(edge: Edge, at: int) -> bool:
    return (edge.start is None or edge.start <= at + SKEW_S) and (edge.end is None or edge.end >= at - SKEW_S)


class ClusterStore:
    """Edges in ``siem-sessions-*``."""

    def __init__(self, client: OpenSearch) -> None:
        self._client = client

    def find(self, by: By, value: str, at: int | None = None) -> Found:
        """See :class:`SessionStore`.

        Raises:
            ClusterError: the cluster cannot answer, or only in part.
        """
        conditions: list[dict[str, Any]] = [{"term": {by: value}}]
        if at is not None:
            conditions.append(_or_absent("start", {"lte": text_of(at + SKEW_S)}))
            conditions.append(_or_absent("end", {"gte": text_of(at - SKEW_S)}))
        hits = self._search({"size": LIMIT + 1, "query": {"bool": {"filter": conditions}}})
        return Found(tuple(edge_of(hit["_source"]) for hit in hits[:LIMIT]), len(hits) <= LIMIT)

    def callers(self, by: CallerBy, value: str) -> list[Sighting]:
        """See :class:`SessionStore`.

        Raises:
            ClusterError: the cluster cannot answer, or only in part.
        """
        apart = f"caller.{_TOLD_APART[by]}"
        conditions = [{"term": {f"caller.{by}": value}}, {"exists": {"field": apart}}]
        found = self._search(
            {
                "size": LIMIT,
                "query": {"bool": {"filter": conditions}},
                "collapse": {"field": apart},
                "sort": [{"start": {"order": "desc", "missing": "_last", "unmapped_type": "date"}}],
            }
        )
        edges = [edge_of(hit["_source"]) for hit in found]
        return [Sighting(edge.caller, edge.start) for edge in edges]

    def _search(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            answer = self._client.search(
                index=SESSIONS,
                body=body,
                params={"ignore_unavailable": "true", "allow_partial_search_results": "false"},
            )
        except TransportError as error:
            raise ClusterError(f"sessions cannot be looked up: {error.error}", where=SESSIONS) from None
        if answer.get("timed_out") or answer["_shards"]["failed"]:
            raise ClusterError("sessions could be looked up only in part", where=SESSIONS, hint="Try again.")
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits


def _or_absent(field: str, condition: dict[str, str]) -> dict[str, Any]:
    absent = {"bool": {"must_not": [{"exists": {"field": field}}]}}
    return {"bool": {"should": [{"range": {field: condition}}, absent], "minimum_should_match": 1}}
