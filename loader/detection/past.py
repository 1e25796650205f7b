"""Letting rules see what they were too young for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from opensearchpy import OpenSearch

from loader.detection.correlation import Node, Tree
from loader.detection.coverage import CoverageStore
from loader.detection.cursor import ShardStatisticsHiddenError, belongs, read_positions
from loader.detection.folded_alerts import node_key
from loader.detection.intervals import size
from loader.detection.minutes import minute_positions
from loader.detection.plan import request_past


def examine_past(client: OpenSearch, nodes: Iterable[Node], *, now: datetime) -> dict[str, int]:
    """Note in the ledger that ``nodes`` have to examine what was passed over when they were new or changed.

    Returns how many documents (where shards are hidden: minutes) that is, by the rule's name. The next cycle does it.

    Raises:
        CoverageConflictError: a scheduler is at work; try again.
        ClusterError: the cluster cannot be asked.
    """
    chosen = {node_key(node): node for node in nodes}
    patterns = {leaf.index for node in chosen.values() for leaf in Tree(node).leaves.values()}
    try:
        positions = read_positions(client, patterns)
    except ShardStatisticsHiddenError:
        positions = minute_positions(client, patterns, now)
    ledger = CoverageStore(client)
    coverages = ledger.load(positions.shards)
    asked = {node.rule.name: 0 for node in chosen.values()}
    for key, node in chosen.items():
        names = {leaf.index for leaf in Tree(node).leaves.values()}
        for coverage in coverages.values():
            if any(belongs(coverage.shard.index, name) for name in names):
                asked[node.rule.name] += size(coverage.extent(key).waived)
    ledger.save(request_past(coverages.values(), chosen), now=now)
    return asked
