"""How far each shard has come: sequence numbers below which everything is acknowledged and will never change.

A shard's *global checkpoint* is the highest ``_seq_no`` up to which every in-sync copy holds every operation
(https://www.elastic.co/docs/deploy-manage/distributed-architecture/reading-and-writing-documents). Numbers up to it are
final: a new primary after a failover has them all, and a later write gets a higher one. So "checkpoint, refresh, search
up to it" sees every document exactly once, however late it came or its request became visible; a time never does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.errors import ClusterError
from loader.index.engine import Engine

_STATS = "indices.*.uuid,indices.*.shards.*.seq_no.global_checkpoint"
_SETTINGS = "*.settings.index.uuid,*.settings.index.number_of_shards"
_MISSING_API = (403, 404, 405, 410)


class ShardStatisticsHiddenError(ClusterError):
    """This cluster does not show its shards (a serverless one): progress has to be measured in time."""


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """One shard of an index and how far it can be examined. ``uuid`` differs when an index of the same name is new.

    Where shards are hidden (:mod:`loader.detection.minutes`) a whole index pattern is one, and what is counted are
    ``minutes`` of ``event.ingested`` since 1970 instead of sequence numbers.
    """

    index: str
    uuid: str
    number: int
    checkpoint: int
    minutes: bool = False
    #: Nothing is below this number.
    first: int = 0

    @property
    def id(self) -> str:
        """Return the name its coverage is kept under."""
        return f"{self.uuid}-{self.number}"

    @property
    def where(self) -> str:
        """Return ``index[shard]``, or the pattern."""
        return self.index if self.minutes else f"{self.index}[{self.number}]"


@dataclass(frozen=True, slots=True)
class Positions:
    """Every shard that can be read now, and the names of those that cannot (closed, or no copy is assigned)."""

    shards: tuple[Shard, ...]
    unreadable: tuple[str, ...] = ()


def preference(engine: Engine, shard: int) -> str:
    """Return where a search for one shard is to run.

    OpenSearch may copy segments to replicas some time after the primary has refreshed (segment replication), so the
    primary is read. Elasticsearch has no such preference any more, and its refresh covers every copy.
    """
    return f"_shards:{shard}|_primary" if engine == "opensearch" else f"_shards:{shard}"


def read_positions(client: OpenSearch, patterns: Iterable[str]) -> Positions:
    """Read the global checkpoint of every shard of the indices that ``patterns`` name.

    Raises:
        ShardStatisticsHiddenError: the cluster does not answer such questions.
        ClusterError: it cannot be asked now.
    """
    names = ",".join(sorted(set(patterns)))
    settings = _get(client, f"/{names}/_settings", {"filter_path": _SETTINGS, "expand_wildcards": "open,closed"})
    stats = _get(client, f"/{names}/_stats/docs", {"level": "shards", "filter_path": _STATS}).get("indices", {})
    shards: list[Shard] = []
    unreadable: list[str] = []
    for index, answer in sorted(settings.items()):
        expected = answer["settings"]["index"]
        seen = stats.get(index, {})
        copies: dict[str, list[dict[str, Any]]] = seen.get("shards", {})
        for number in range(int(expected["number_of_shards"])):
            # Each copy knows a checkpoint that is at most the true one, so the highest is safe and nearest.
            known = [copy["seq_no"]["global_checkpoint"] for copy in copies.get(str(number), []) if "seq_no" in copy]
            if known and seen.get("uuid") == expected["uuid"]:
                shards.append(Shard(index, expected["uuid"], number, max(known)))
            else:
                unreadable.append(f"{index}[{number}]")
    return Positions(tuple(shards), tuple(unreadable))


def refresh(client: OpenSearch, indices: Iterable[str]) -> set[str]:
    """Make everything written so far searchable. Return the indices for which that is not certain."""
    uncertain: set[str] = set()
    for index in sorted(set(indices)):
        try:
            answer = client.transport.perform_request("POST", f"/{index}/_refresh")
        except NotFoundError:
            uncertain.add(index)  # deleted meanwhile
            continue
        except TransportError as error:
            raise ClusterError(f"cannot refresh: {error.error}", where=index) from None
        if answer["_shards"]["failed"]:
            uncertain.add(index)
    return uncertain


def belongs(index: str, pattern: str) -> bool:
    """Return whether ``index`` is one of ``pattern`` (comma-separated, ``*`` as wildcard)."""
    return any(fnmatchcase(index, part) for part in pattern.split(","))


def _get(client: OpenSearch, path: str, params: dict[str, str]) -> dict[str, Any]:
    try:
        answer = client.transport.perform_request("GET", path, params={**params, "ignore_unavailable": "true"})
    except TransportError as error:
        if error.status_code in _MISSING_API:
            raise ShardStatisticsHiddenError(f"no shard statistics: {error.error}", where=path) from None
        raise ClusterError(f"cannot read the shards' positions: {error.error}", where=path) from None
    return answer if isinstance(answer, dict) else {}
