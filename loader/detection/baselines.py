"""The baselines of rules that look for what is new, kept in ``siem-baselines``: one document a rule and group.

They are what :mod:`loader.detection.first_seen` says, written with compare-and-set. One more document for each rule
says from when on they are whole: everything that was in the index from then on, or has been examined since, is in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.clock import Clock, rfc3339
from loader.detection.alerts import at
from loader.detection.correlation import Group, canonical
from loader.detection.coverage import compare_and_set
from loader.detection.first_seen import Seen
from loader.errors import ClusterError
from loader.index.identifiers import derived_id
from loader.index.patience import find_documents

BASELINES_INDEX = "siem-baselines"
Version = tuple[int, int]
_CONFLICT = 409
_DONE = 200
#: So many are removed at once.
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Baseline:
    """What one group's document holds. ``version`` is for compare-and-set; ``None`` before it exists."""

    seen: Seen
    version: Version | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """From when on (milliseconds of event time) a rule's baselines are whole, and when the expired ones were removed.

    ``since`` is ``None`` if nothing is known about the rule.
    """

    since: int | None = None
    pruned: int = 0
    version: Version | None = None


class BaselineStore:
    """Reads and writes the baselines of one rule. ``key`` is that of the ledger: a rule that asks else is another."""

    def __init__(
        self,
        client: OpenSearch,
        key: str,
        name: str,
        *,
        length: int,
        clock: Clock,
        index: str = BASELINES_INDEX,
        page: int = _PAGE,
    ) -> None:
        self._client = client
        self._clock = clock
        self._key = key
        self._name = name
        self._length = length
        self._index = index
        self._page = page

    def read(self, groups: Sequence[Group]) -> dict[Group, Baseline]:
        """Return the baselines of ``groups``; empty ones where there are none yet.

        Raises:
            ClusterError: they cannot be read.
        """
        found = self._read([self._id(group) for group in groups])
        baselines = {}
        for group in groups:
            body, version = found.get(self._id(group), ({}, None))
            baselines[group] = Baseline(Seen.of(self._length, body.get("terms", {})), version)
        return baselines

    def write(
        self, seen: Mapping[Group, Seen], versions: Mapping[Group, Version | None], *, now: datetime, keep: int
    ) -> set[Group]:
        """Write baselines that may go ``keep`` milliseconds after their last sight.

        Returns the groups that somebody else has written since they were read.

        Raises:
            ClusterError: they cannot be written.
        """
        groups = list(seen)
        bodies = [
            {
                "rule": self._key,
                "name": self._name,
                "group": canonical(group),
                "terms": seen[group].stored(),
                "updated": rfc3339(now),
                "expires": rfc3339(at(seen[group].last + keep)),
            }
            for group in groups
        ]
        statuses = self._write([(self._id(group), versions[group]) for group in groups], bodies)
        return {group for group, status in zip(groups, statuses, strict=True) if status == _CONFLICT}

    def read_extent(self) -> Extent:
        """Return how far back the rule's baselines go.

        Raises:
            ClusterError: it cannot be read.
        """
        body, version = self._read([self._id(None)]).get(self._id(None), ({}, None))
        return Extent(body.get("since"), body.get("pruned", 0), version)

    def save_extent(self, extent: Extent, *, now: datetime, keep: int) -> bool:
        """Save how far back they go. Return whether that is so: not if somebody else has saved since it was read.

        Raises:
            ClusterError: it cannot be saved.
        """
        body = {
            "rule": self._key,
            "name": self._name,
            "since": extent.since,
            "pruned": extent.pruned,
            "updated": rfc3339(now),
            "expires": rfc3339(at(int(now.timestamp() * 1000) + keep)),
        }
        return self._write([(self._id(None), extent.version)], [body]) != [_CONFLICT]

    def prune(self, *, now: datetime, abandoned_ms: int) -> None:
        """Remove what has expired of this rule, and all of rules that have not been run for ``abandoned_ms``.

        Raises:
            ClusterError: the cluster cannot be reached.
        """
        expired = [{"term": {"rule": self._key}}, {"range": {"expires": {"lt": rfc3339(now)}}}]
        abandoned = {"range": {"updated": {"lt": rfc3339(now - timedelta(milliseconds=abandoned_ms))}}}
        # Not _delete_by_query: a serverless collection does not have it, nor Elasticsearch without its module.
        body = {
            "query": {"bool": {"should": [{"bool": {"filter": expired}}, abandoned], "minimum_should_match": 1}},
            "size": self._page,
            "_source": False,
            "seq_no_primary_term": True,
        }
        while True:
            try:
                hits = self._client.search(index=self._index, body=body)["hits"]["hits"]
            except NotFoundError:
                return
            except TransportError as error:
                raise ClusterError(f"cannot find old baselines: {error.error}", where=self._index) from None
            is_last = len(hits) < self._page
            if not self._remove(hits, wait=not is_last) or is_last:
                return

    def _remove(self, hits: Sequence[Mapping[str, Any]], *, wait: bool) -> int:
        """Remove documents unless somebody has changed them meanwhile; ``wait`` until no search finds them any more."""
        lines = [
            orjson.dumps({"delete": {"_index": hit["_index"], "_id": hit["_id"],
                                     "if_seq_no": hit["_seq_no"], "if_primary_term": hit["_primary_term"]}})
            for hit in hits
        ]  # fmt: skip
        if not lines:
            return 0
        params = {"refresh": "wait_for" if wait else "false"}
        try:
            items = self._client.bulk(body=b"\n".join(lines).decode() + "\n", params=params)["items"]
        except TransportError as error:
            raise ClusterError(f"cannot remove old baselines: {error.error}", where=self._index) from None
        results = [item["delete"] for item in items]
        for result in results:
            if "error" in result and result["status"] != _CONFLICT:
                raise ClusterError(f"cannot remove old baselines: {result['error']}", where=self._index)
        return sum(result["status"] == _DONE for result in results)

    def _id(self, group: Group | None) -> str:
        return derived_id(self._key, None if group is None else canonical(group))

    def _read(self, identifiers: Sequence[str]) -> dict[str, tuple[dict[str, Any], Version]]:
        if not identifiers:
            return {}
        body = {"ids": list(identifiers)}
        docs = find_documents(self._client, body, what="baselines", clock=self._clock, index=self._index)
        return {doc["_id"]: (doc["_source"], (doc["_seq_no"], doc["_primary_term"])) for doc in docs}

    def _write(self, places: Iterable[tuple[str, Version | None]], bodies: Sequence[Mapping[str, Any]]) -> list[int]:
        lines: list[bytes] = []
        for (identifier, version), body in zip(places, bodies, strict=True):
            lines += [orjson.dumps(compare_and_set(self._index, identifier, version)), orjson.dumps(body)]
        if not lines:
            return []
        try:
            items = self._client.bulk(body=b"\n".join(lines).decode() + "\n")["items"]
        except TransportError as error:
            raise ClusterError(f"cannot write baselines: {error.error}", where=self._index) from None
        statuses = []
        for item in items:
            (result,) = item.values()
            if "error" in result and result["status"] != _CONFLICT:
                raise ClusterError(f"cannot write baselines: {result['error']}", where=self._index)
            statuses.append(int(result["status"]))
        return statuses
