"""Reading the events of a stretch of time: what a window needs beside the new ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from loader.clock import Clock
from loader.detection.alerts import at
from loader.detection.correlation import Group, Tree
from loader.detection.cursor import ShardStatisticsHiddenError, belongs, read_engine, read_positions
from loader.detection.fields import schema_of
from loader.detection.matches import TIME_FIELD, Match, flatten, match_of
from loader.detection.model import CompiledCorrelation, CompiledRule, Query
from loader.detection.search import Searcher, incomplete
from loader.detection.sources import source_for
from loader.errors import RuleError

_DAY_MS = 86_400_000
_DATED = re.compile(r"-(\d{4}\.\d{2}\.\d{2})$")
#: Longest stretch of time whose daily indices are named one by one, and the ending of the index beside them.
_MOST_DAYS = 100
_MISDATED = "misdated"
_PAGE = 2000
#: Events of one base rule in one stretch of time. More means that the rule's base is not selective enough.
_MOST = 200_000


class EventReader:
    """Reads matches by time."""

    def __init__(self, searcher: Searcher, indices: Iterable[str], *, page: int = _PAGE, most: int = _MOST) -> None:
        self._searcher = searcher
        self._indices = tuple(indices)
        self._page = page
        self._most = most

    def read(
        self,
        rule: CompiledRule,
        start: int,
        end: int,
        paths: Sequence[str],
        *,
        also: Sequence[Query] = (),
        accept: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> list[Match]:
        """Return what ``rule`` matches in [start, end] milliseconds, each event once, with ``paths`` of its source.

        Raises:
            RuleError: the query cannot be answered, or only in part, or there are too many events.
            ClusterError: the cluster cannot be reached.
        """
        names = self._names(rule.index, start, end)
        if not names:
            return []
        body: dict[str, Any] = {
            "size": self._page,
            "timeout": "50s",
            "track_total_hits": False,
            "query": {"bool": {"filter": [_period(start, end), *also, rule.query]}},
            "sort": [{"@timestamp": "asc"}, {"event.id" if self._searcher.hidden else "_seq_no": "asc"}],
            "docvalue_fields": [TIME_FIELD],
            "_source": True if accept else list(paths),
        }
        header = self._searcher.header(",".join(names)) | {"ignore_unavailable": True}
        found: dict[str, Match] = {}
        while True:
            answer = self._searcher.search([(header, body)])[0]
            if failure := _incomplete(answer):
                raise RuleError(failure, where=rule.rule.where)
            hits = answer["hits"]["hits"]
            for hit in hits:
                if accept is None or accept(hit["_source"]):
                    _keep(found, flatten(match_of(hit), paths))
            if len(hits) < self._page:
                return list(found.values())
            if len(found) > self._most:
                raise RuleError(
                    f"more than {self._most} events between {at(start)} and {at(end)}",
                    where=rule.rule.where,
                    hint="Make the rule it counts more selective.",
                )
            # Two shards can have one number at one time: the next page begins with the last hit's neighbours again.
            time, last = hits[-1]["sort"]
            body = {**body, "search_after": [time, last - 1 if isinstance(last, int) else last]}

    def count_groups(
        self, rule: CompiledRule, route: Mapping[str, str], start: int, end: int, *, also: Sequence[Query] = ()
    ) -> Counter[Group] | None:
        """Return how many events each group has in [start, end], at least; ``None`` if the server cannot tell exactly.

        ``route`` maps the group's fields to paths. Only plain keywords can be counted: other types are returned in
        another form than the events have them.

        Raises:
            RuleError: the query cannot be answered, or only in part.
            ClusterError: the cluster cannot be reached.
        """
        source = source_for(rule.rule.logsource)
        fields = schema_of(source).fields if source else {}
        kinds = [fields.get(path) for path in route.values()]
        if not kinds or not all(kind and kind.kind == "keyword" and not kind.lowered for kind in kinds):
            return None
        counts: Counter[Group] = Counter()
        names = self._names(rule.index, start, end)
        if not names:
            return counts
        composite: dict[str, Any] = {
            "size": _PAGE,
            "sources": [{str(number): {"terms": {"field": path}}} for number, path in enumerate(route.values())],
        }
        header = self._searcher.header(",".join(names)) | {"ignore_unavailable": True}
        body: dict[str, Any] = {
            "size": 0,
            "timeout": "50s",
            "track_total_hits": False,
            "query": {"bool": {"filter": [_period(start, end), *also, rule.query]}},
            "aggs": {"groups": {"composite": composite}},
        }
        while True:
            answer = self._searcher.search([(header, body)])[0]
            if failure := _incomplete(answer):
                raise RuleError(failure, where=rule.rule.where)
            if "aggregations" not in answer:
                return counts
            found = answer["aggregations"]["groups"]
            for bucket in found["buckets"]:
                pairs = [(name, bucket["key"][str(number)]) for number, name in enumerate(route)]
                counts[tuple(sorted(pairs))] += bucket["doc_count"]
            if "after_key" not in found:
                return counts
            composite["after"] = found["after_key"]

    def _names(self, pattern: str, start: int, end: int) -> list[str]:
        """Return the indices that may hold events of that time: daily ones by the date in their name.

        An index that was made since the cycle read its list counts, too: another scheduler may have written an alert
        about what is in it, and an older view must not revise that. So the names of all days are asked for; those that
        do not exist are passed over.
        """
        first, last = f"{at(start - _DAY_MS):%Y.%m.%d}", f"{at(end + _DAY_MS):%Y.%m.%d}"
        known = [
            index
            for index in self._indices
            if belongs(index, pattern) and (not (dated := _DATED.search(index)) or first <= dated[1] <= last)
        ]
        days = (end - start) // _DAY_MS + 3
        if days > _MOST_DAYS:
            return known
        made = [
            part[:-1] + suffix
            for part in pattern.split(",")
            if part.endswith("-*")
            for suffix in (_MISDATED, *(f"{at(start + day * _DAY_MS):%Y.%m.%d}" for day in range(-1, days)))
        ]
        return list(dict.fromkeys((*known, *made)))


def open_reader(
    client: OpenSearch, nodes: Iterable[CompiledRule | CompiledCorrelation], *, clock: Clock
) -> EventReader:
    """Return a reader for what ``nodes`` ask, outside a cycle.

    Raises:
        ClusterError: the cluster cannot be asked.
    """
    patterns = {leaf.index for node in nodes for leaf in Tree(node).leaves.values()}
    try:
        indices, hidden = {shard.index for shard in read_positions(client, patterns).shards}, False
    except ShardStatisticsHiddenError:
        indices, hidden = patterns, True
    searcher = Searcher(client, engine=read_engine(client), clock=clock, hidden=hidden)
    return EventReader(searcher, sorted(indices))


def _incomplete(answer: Mapping[str, Any]) -> str | None:
    """Return what is wrong. If all the indices have been deleted no shard answers, and nothing is missing."""
    return None if answer.get("_shards", {}).get("total") == 0 else incomplete(answer)


def _period(start: int, end: int) -> Query:
    return {"range": {"@timestamp": {"gte": start, "lte": end, "format": "epoch_millis"}}}


def _keep(found: dict[str, Match], match: Match) -> None:
    """Keep one of an event's copies (a day's index and the one for misdated events may both have it)."""
    other = found.get(match.id)
    if other is None or match.index < other.index:
        found[match.id] = match
