"""The coverage ledger: which sequence numbers of each shard every rule has examined, kept in ``siem-coverage``.

The ledger is the cursor, too: what a rule has not examined, between its first document and the checkpoint, is what it
examines next, whether that is the last minute's documents or a gap that a crash left. One document a shard; rules that
have come equally far share one entry. Documents are written with compare-and-set, so that of two schedulers that
examined the same range at the same time one learns of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.clock import rfc3339
from loader.detection.cursor import Shard
from loader.detection.intervals import EMPTY, Range, Ranges, difference, union
from loader.errors import ClusterError

COVERAGE_INDEX = "siem-coverage"
_REGISTRY_ID = "rules"


class CoverageConflictError(ClusterError):
    """Another scheduler wrote the ledger since it was read: read it again and go on from there."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far one rule has come in one shard.

    ``waived`` was passed over on purpose, because the rule is younger. ``replay`` was waived and is to be examined on
    request: its alerts are historic.
    """

    examined: Ranges = EMPTY
    waived: Ranges = EMPTY
    replay: Ranges = EMPTY

    def missing(self, shard: Shard) -> Ranges:
        """Return what is still to be examined, up to the shard's checkpoint."""
        return difference(((shard.first, shard.checkpoint),), union(self.examined, self.waived))

    def seen(self, span: Range) -> Extent:
        """Return the extent once ``span`` is examined."""
        return replace(self, examined=union(self.examined, (span,)), replay=difference(self.replay, (span,)))


@dataclass(slots=True)
class ShardCoverage:
    """The ledger's document about one shard. ``version`` is for compare-and-set; ``None`` before it exists."""

    shard: Shard
    rules: dict[str, Extent] = field(default_factory=dict)
    version: tuple[int, int] | None = None
    #: Documents in each minute when it was examined; only where minutes are what is examined.
    counts: dict[int, int] = field(default_factory=dict)

    def extent(self, key: str) -> Extent:
        """Return how far the rule ``key`` has come."""
        return self.rules.get(key, Extent())


@dataclass(slots=True)
class Registry:
    """Every rule the ledger knows: its key → the rule's UUID. Of several keys of one UUID the last is the current."""

    rules: dict[str, str] = field(default_factory=dict)
    version: tuple[int, int] | None = None

    def earlier(self, uuid: str) -> list[str]:
        """Return the keys under which a rule was known before, oldest first."""
        return [key for key, known in self.rules.items() if known == uuid]


class CoverageStore:
    """Reads and writes the ledger."""

    def __init__(self, client: OpenSearch, *, index: str = COVERAGE_INDEX) -> None:
        self._client = client
        self._index = index

    def load(self, shards: Iterable[Shard]) -> dict[str, ShardCoverage]:
        """Return what is known about ``shards``, by :attr:`Shard.id`; an empty entry for one that is new."""
        wanted = {shard.id: shard for shard in shards}
        return {
            identifier: ShardCoverage(shard, _extents(found[0]), found[1], dict(found[0].get("counts", ())))
            if (found := answers.get(identifier))
            else ShardCoverage(shard)
            for answers in [self._read(list(wanted))]
            for identifier, shard in wanted.items()
        }

    def load_registry(self) -> Registry:
        """Return the rules the ledger knows."""
        found = self._read([_REGISTRY_ID]).get(_REGISTRY_ID)
        return Registry(dict(found[0]["registry"]), found[1]) if found else Registry()

    def save(self, coverages: Iterable[ShardCoverage], *, now: datetime) -> None:
        """Write ``coverages``; their versions are brought up to date.

        Raises:
            CoverageConflictError: at least one had been changed by somebody else. The others are written.
            ClusterError: the ledger could not be written.
        """
        kept = list(coverages)
        bodies = [
            {
                "index": coverage.shard.index,
                "uuid": coverage.shard.uuid,
                "shard": coverage.shard.number,
                "checkpoint": coverage.shard.checkpoint,
                "updated": rfc3339(now),
                "groups": _groups(coverage.rules),
                **({"counts": list(coverage.counts.items())} if coverage.counts else {}),
            }
            for coverage in kept
        ]
        versions = self._write([c.shard.id for c in kept], bodies, [c.version for c in kept])
        for coverage, version in zip(kept, versions, strict=True):
            coverage.version = version

    def save_registry(self, registry: Registry, *, now: datetime) -> None:
        """Write the known rules.

        Raises:
            CoverageConflictError: somebody else has added rules at the same time.
            ClusterError: the ledger could not be written.
        """
        body = {"updated": rfc3339(now), "registry": list(registry.rules.items())}
        registry.version = self._write([_REGISTRY_ID], [body], [registry.version])[0]

    def _read(self, identifiers: list[str]) -> dict[str, tuple[dict[str, Any], tuple[int, int]]]:
        if not identifiers:
            return {}
        try:
            answer = self._client.mget(body={"ids": identifiers}, index=self._index)
        except NotFoundError:
            return {}
        except TransportError as error:
            raise ClusterError(f"cannot read the coverage ledger: {error.error}", where=self._index) from None
        found = {}
        for doc in answer["docs"]:
            if doc.get("found"):
                found[doc["_id"]] = (doc["_source"], (doc["_seq_no"], doc["_primary_term"]))
            elif (kind := doc.get("error", {}).get("type")) not in (None, "index_not_found_exception"):
                raise ClusterError(f"cannot read the coverage ledger: {kind}", where=self._index)
        return found

    def _write(
        self, identifiers: list[str], bodies: list[dict[str, Any]], versions: list[tuple[int, int] | None]
    ) -> list[tuple[int, int]]:
        if not identifiers:
            return []
        lines: list[bytes] = []
        for identifier, body, version in zip(identifiers, bodies, versions, strict=True):
            lines += [orjson.dumps(compare_and_set(self._index, identifier, version)), orjson.dumps(body)]
        try:
            answer = self._client.bulk(body=b"\n".join(lines).decode() + "\n")
        except TransportError as error:
            raise ClusterError(f"cannot write the coverage ledger: {error.error}", where=self._index) from None
        written: list[tuple[int, int]] = []
        conflict = False
        for item in answer["items"]:
            (result,) = item.values()
            if result["status"] == 409:
                conflict = True
            elif "error" in result:
                raise ClusterError(f"cannot write the coverage ledger: {result['error']}", where=self._index)
            else:
                written.append((result["_seq_no"], result["_primary_term"]))
        if conflict:
            raise CoverageConflictError("another scheduler examined the same documents", where=self._index)
        return written


def compare_and_set(index: str, identifier: str, version: tuple[int, int] | None) -> dict[str, Any]:
    """Return the action of a bulk write that fails with 409 unless the document is still as it was read.

    ``version`` is ``(_seq_no, _primary_term)`` as read, or ``None`` when there was no document.
    """
    if version is None:
        return {"create": {"_index": index, "_id": identifier}}
    return {"index": {"_index": index, "_id": identifier, "if_seq_no": version[0], "if_primary_term": version[1]}}


def _groups(rules: Mapping[str, Extent]) -> list[dict[str, Any]]:
    together: dict[Extent, list[str]] = defaultdict(list)
    for key, extent in rules.items():
        together[extent].append(key)
    return [
        {
            "examined": extent.examined,
            "waived": extent.waived,
            "replay": extent.replay,
            "rules": sorted(keys),
        }
        for extent, keys in together.items()
    ]


def _extents(body: Mapping[str, Any]) -> dict[str, Extent]:
    rules: dict[str, Extent] = {}
    for group in body["groups"]:
        extent = Extent(*(tuple((a, b) for a, b in group[name]) for name in ("examined", "waived", "replay")))
        rules.update(dict.fromkeys(group["rules"], extent))
    return rules
