"""Progress where shards are hidden (a serverless cluster): minutes of ``event.ingested``, counted again for a day.

A time cannot prove that nothing more will come with it, a sequence number can. So each minute's documents are counted
before it is examined, and again by every later cycle for :data:`RECOUNTED`: a minute that has grown is examined again.
What becomes visible later than that is missed, which is why this is only done where there is no other way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.detection.coverage import ShardCoverage
from loader.detection.cursor import Positions, Shard
from loader.detection.intervals import difference
from loader.errors import ClusterError
from loader.index.identifiers import derived_id

_MINUTE_MS = 60_000
#: Minutes that are counted again.
RECOUNTED = 24 * 60


def minute_positions(client: OpenSearch, patterns: Iterable[str], now: datetime) -> Positions:
    """Return each index pattern as one shard of minutes, from its first document to the last whole minute.

    Raises:
        ClusterError: the cluster cannot be asked.
    """
    checkpoint = int(now.timestamp()) // 60 - 1
    shards = []
    for name in sorted({part for pattern in patterns for part in pattern.split(",")}):
        earliest = _search(client, name, {"size": 0, "aggs": {"first": {"min": {"field": "event.ingested"}}}})
        value = earliest.get("first", {}).get("value")
        first = checkpoint if value is None else int(value) // _MINUTE_MS
        shards.append(Shard(name, f"minutes-{derived_id(name)}", 0, checkpoint, minutes=True, first=first))
    return Positions(tuple(shards))


def recount(client: OpenSearch, coverages: Iterable[ShardCoverage]) -> None:
    """Count the last day's minutes; those that have grown since they were examined count as not examined.

    Raises:
        ClusterError: they cannot be counted.
    """
    for coverage in coverages:
        last = coverage.shard.checkpoint
        counts = _count(client, coverage.shard.index, last - RECOUNTED, last)
        # A minute without a count was empty when it was examined, unless nothing had been examined at all.
        grown = [minute for minute, count in counts.items() if coverage.counts.get(minute, 0) < count]
        spans = [(minute, minute) for minute in grown]
        if spans:
            coverage.rules = {
                key: replace(extent, examined=difference(extent.examined, spans))
                for key, extent in coverage.rules.items()
            }
        coverage.counts = counts


def _count(client: OpenSearch, pattern: str, first: int, last: int) -> dict[int, int]:
    period = {"gte": first * _MINUTE_MS, "lt": (last + 1) * _MINUTE_MS, "format": "epoch_millis"}
    histogram = {"field": "event.ingested", "fixed_interval": "1m", "min_doc_count": 1}
    body: dict[str, Any] = {
        "size": 0,
        "track_total_hits": False,
        "query": {"range": {"event.ingested": period}},
        "aggs": {"minutes": {"date_histogram": histogram}},
    }
    buckets = _search(client, pattern, body).get("minutes", {}).get("buckets", [])
    return {int(bucket["key"]) // _MINUTE_MS: int(bucket["doc_count"]) for bucket in buckets}


def _search(client: OpenSearch, pattern: str, body: dict[str, Any]) -> dict[str, Any]:
    params = {"ignore_unavailable": "true", "allow_no_indices": "true", "allow_partial_search_results": "false"}
    try:
        answer = client.search(index=pattern, body=body, params=params)
    except TransportError as error:
        raise ClusterError(f"cannot count minutes: {error.error}", where=pattern) from None
    if answer["timed_out"] or answer["_shards"]["failed"]:
        raise ClusterError("minutes could not be counted on every shard", where=pattern)
    found: dict[str, Any] = answer.get("aggregations", {})
    return found
