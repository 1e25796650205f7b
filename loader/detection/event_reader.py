"""Reading the events of a stretch of time: what a window needs beside the new ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

from opensearchpy import OpenSearch

from loader.clock import Clock, rfc3339
from loader.detection.alerts import at
from loader.detection.correlation import Group, Tree
from loader.detection.cursor import ShardStatisticsHiddenError, belongs, read_positions
from loader.detection.fields import schema_of
from loader.detection.matches import TIME_FIELD, Flat, Match, flatten, match_of
from loader.detection.model import CompiledCorrelation, CompiledRule, Query
from loader.detection.narrowing import period
from loader.detection.rule_handler import acceptor
from loader.detection.search import Searcher, incomplete
from loader.detection.sources import source_for
from loader.errors import RuleError
from loader.index.engine import read_engine
from loader.logtypes.times import MISDATED

_DAY_MS = 86_400_000
_DATED = re.compile(r"-(\d{4}\.\d{2}\.\d{2})$")
#: Longest stretch of time whose daily indices are named one by one.
_MOST_DAYS = 100
_EVENT_ID = "event.id"
_PAGE = 2000
#: Events of one base rule in one stretch of time. More means that the rule's base is not selective enough.
_MOST = 200_000
#: Moments that one search asks for: each is a clause of its own, and with 1,024 a search is refused.
_MOST_TIMES = 500


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
        found: dict[str, Match] = {}
        for page in self.pages(rule, start, end, paths, also=also, accept=accept):
            for match in page:
                _keep(found, match)
            self._check(rule, found, start, end)
        return list(found.values())

    def _check(self, rule: CompiledRule, found: Sized, start: int, end: int) -> None:
        if len(found) > self._most:
            raise RuleError(
                f"more than {self._most} events between {at(start)} and {at(end)}",
                where=rule.rule.where,
                hint="Make the rule it counts more selective.",
            )

    def sketch(
        self, rule: CompiledRule, start: int, end: int, paths: Sequence[str], *, also: Sequence[Query] = ()
    ) -> list[Match]:
        """Return what :meth:`read` does, for telling where to look: ids stand for nothing, copies are events again.

        The index keeps the values of plain keywords beside the documents. Reading those takes a tenth of the time.

        Raises:
            RuleError: the query cannot be answered, or only in part, or there are too many events.
            ClusterError: the cluster cannot be reached.
        """
        accept = acceptor(rule)
        if accept is not None or self._searcher.hidden or not countable(rule, paths):
            return self.read(rule, start, end, paths, also=also, accept=accept)
        # A value that is too long to be indexed is not among them.
        ignored: Query = {"exists": {"field": "_ignored"}}
        found: dict[str, Match] = {
            match.id: match for match in self.read(rule, start, end, paths, also=[*also, ignored])
        }
        for hits in self._hits(rule, start, end, _columns(paths), also=[*also, {"bool": {"must_not": [ignored]}}]):
            for hit in hits:
                if _EVENT_ID not in hit["fields"]:
                    return self.read(rule, start, end, paths, also=also)
                match = _sketched(hit, paths)
                found[match.id] = match
            self._check(rule, found, start, end)
        return list(found.values())

    def read_at(
        self,
        rule: CompiledRule,
        times: Sequence[int],
        paths: Sequence[str],
        *,
        also: Sequence[Query] = (),
        accept: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> list[Match]:
        """Return what ``rule`` matches at exactly one of ``times`` (milliseconds, ascending), as :meth:`read` does."""
        found: dict[str, Match] = {}
        for start in range(0, len(times), _MOST_TIMES):
            part = times[start : start + _MOST_TIMES]
            exactly = {"terms": {"@timestamp": [rfc3339(at(time)) for time in part]}}
            for match in self.read(rule, part[0], part[-1], paths, also=[*also, exactly], accept=accept):
                _keep(found, match)
        return list(found.values())

    def pages(
        self,
        rule: CompiledRule,
        start: int,
        end: int,
        paths: Sequence[str],
        *,
        also: Sequence[Query] = (),
        accept: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> Iterator[list[Match]]:
        """Yield what ``rule`` matches in [start, end] page by page, in the order of time; some events more than once.

        Raises:
            RuleError: the query cannot be answered, or only in part.
            ClusterError: the cluster cannot be reached.
        """
        what = {"docvalue_fields": [TIME_FIELD], "_source": True if accept else list(paths) or False}
        for hits in self._hits(rule, start, end, what, also=also):
            yield [flatten(match_of(hit), paths) for hit in hits if accept is None or accept(hit["_source"])]

    def _hits(
        self, rule: CompiledRule, start: int, end: int, what: Mapping[str, Any], *, also: Sequence[Query]
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield ``what`` of each document page by page, in the order of time; some of them more than once."""
        names = self._names(rule.index, start, end)
        if not names:
            return
        body: dict[str, Any] = {
            "size": self._page,
            "timeout": "50s",
            "track_total_hits": False,
            "query": {"bool": {"filter": [period(start, end), *also, rule.query]}},
            "sort": [{"@timestamp": "asc"}, {"event.id" if self._searcher.hidden else "_seq_no": "asc"}],
            **what,
        }
        header = self._searcher.header(",".join(names)) | {"ignore_unavailable": True}
        while True:
            hits = self._ask(rule, header, body)["hits"]["hits"]
            yield hits
            if len(hits) < self._page:
                return
            # Two shards can have one number at one time: the next page begins with the last hit's neighbours again.
            time, last = hits[-1]["sort"]
            body = {**body, "search_after": [time, last - 1 if isinstance(last, int) else last]}

    def count_groups(
        self,
        rule: CompiledRule,
        route: Mapping[str, str],
        start: int,
        end: int,
        *,
        values: Sequence[str] = (),
        also: Sequence[Query] = (),
    ) -> Counter[Group] | None:
        """Return how many events each group has in [start, end], at least; ``None`` if the server cannot tell exactly.

        With ``values`` (paths) it is how many different combinations of those each group has. ``route`` maps the
        group's fields to paths. Only plain keywords can be counted: other types are returned in another form than the
        events have them.

        Raises:
            RuleError: the query cannot be answered, or only in part.
            ClusterError: the cluster cannot be reached.
        """
        paths = [*route.values(), *values]
        if not paths or not countable(rule, paths):
            return None
        counts: Counter[Group] = Counter()
        for row, bucket in self._buckets(rule, paths, start, end, also=also):
            counts[tuple(sorted(zip(route, row, strict=False)))] += 1 if values else bucket["doc_count"]
        return counts

    def sights(
        self, rule: CompiledRule, paths: Sequence[str], start: int, end: int, length: int
    ) -> Iterator[tuple[list[str], tuple[int, int]]] | None:
        """Yield values of ``paths``, and when they were first and last seen together in each bin of ``length``.

        ``None`` if the server cannot tell exactly, as with :meth:`count_groups`.

        Raises:
            RuleError: the query cannot be answered, or only in part.
            ClusterError: the cluster cannot be reached.
        """
        if rule.verify is not None or not countable(rule, paths):
            return None
        bins = {"date_histogram": {"field": "@timestamp", "fixed_interval": f"{length}ms"}}
        ends = {"first": {"min": {"field": "@timestamp"}}, "last": {"max": {"field": "@timestamp"}}}
        return (
            (row[:-1], (int(bucket["first"]["value"]), int(bucket["last"]["value"])))
            for row, bucket in self._buckets(rule, paths, start, end, last=bins, aggs=ends)
        )

    def count_bins(
        self,
        rule: CompiledRule,
        route: Mapping[str, str],
        start: int,
        end: int,
        length: int,
        *,
        also: Sequence[Query] = (),
        copies: bool = False,
    ) -> Counter[tuple[Group, int]] | None:
        """Return how many events each group has in each bin of ``length`` milliseconds, by the bin's number since 1970.

        With ``copies`` only those that may stand in a day's index as well. ``None`` if the server cannot tell exactly,
        as with :meth:`count_groups`.

        Raises:
            RuleError: the query cannot be answered, or only in part.
            ClusterError: the cluster cannot be reached.
        """
        paths = list(route.values())
        if rule.verify is not None or not countable(rule, paths):
            return None
        bins = {"date_histogram": {"field": "@timestamp", "fixed_interval": f"{length}ms"}}
        beside: list[Query] = [{"wildcard": {"_index": f"*-{MISDATED}"}}] if copies else []
        counts: Counter[tuple[Group, int]] = Counter()
        for row, bucket in self._buckets(rule, paths, start, end, also=[*also, *beside], last=bins):
            group = tuple(sorted(zip(route, row, strict=False)))
            counts[group, int(row[-1]) // length] += bucket["doc_count"]
        return counts

    def days_known(self, pattern: str, start: int, end: int) -> int:
        """Return on how many of the days from ``start``'s to the one before ``end``'s there are events at all.

        Raises:
            ClusterError: the cluster cannot be reached.
        """
        first, last = at(start - start % _DAY_MS), at(end - end % _DAY_MS)
        if not self._searcher.hidden:
            days = {dated[1] for index in self._indices if belongs(index, pattern) and (dated := _DATED.search(index))}
            return sum(f"{first:%Y.%m.%d}" <= day < f"{last:%Y.%m.%d}" for day in days)
        body = {
            "size": 0,
            "timeout": "50s",
            "query": {"range": {"@timestamp": {"gte": rfc3339(first), "lt": rfc3339(last)}}},
            "aggs": {"days": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1d", "min_doc_count": 1}}},
        }
        answer = self._searcher.search([(self._searcher.header(pattern) | {"ignore_unavailable": True}, body)])[0]
        return len(answer.get("aggregations", {}).get("days", {}).get("buckets", ()))

    def refresh(self, pattern: str) -> None:
        """Make everything written so far searchable, in all of the rule's indices.

        Raises:
            ClusterError: the cluster cannot be reached.
        """
        if not self._searcher.hidden:
            self._searcher.refresh(index for index in self._indices if belongs(index, pattern))

    def _buckets(
        self,
        rule: CompiledRule,
        paths: Sequence[str],
        start: int,
        end: int,
        *,
        also: Sequence[Query] = (),
        last: Mapping[str, Any] | None = None,
        aggs: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        """Yield each combination of the values of ``paths`` (and of ``last``) with its bucket."""
        names = self._names(rule.index, start, end)
        if not names:
            return
        sources: list[Any] = [{"terms": {"field": path}} for path in paths] + ([last] if last else [])
        composite: dict[str, Any] = {
            "size": _PAGE,
            "sources": [{str(number): source} for number, source in enumerate(sources)],
        }
        header = self._searcher.header(",".join(names)) | {"ignore_unavailable": True}
        body: dict[str, Any] = {
            "size": 0,
            "timeout": "50s",
            "track_total_hits": False,
            "query": {"bool": {"filter": [period(start, end), *also, rule.query]}},
            "aggs": {"groups": {"composite": composite, **({"aggs": aggs} if aggs else {})}},
        }
        while True:
            answer = self._ask(rule, header, body)
            if "aggregations" not in answer:
                return
            found = answer["aggregations"]["groups"]
            for bucket in found["buckets"]:
                yield [bucket["key"][str(number)] for number in range(len(sources))], bucket
            if "after_key" not in found:
                return
            composite["after"] = found["after_key"]

    def _ask(self, rule: CompiledRule, header: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        answer = self._searcher.search([(header, body)])[0]
        if failure := _incomplete(answer):
            raise RuleError(failure, where=rule.rule.where)
        return answer

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
            for suffix in (MISDATED, *(f"{at(start + day * _DAY_MS):%Y.%m.%d}" for day in range(-1, days)))
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


def countable(rule: CompiledRule, paths: Iterable[str]) -> bool:
    """Return whether the server has the values of ``paths`` as the events have them: plain keywords, up to a length."""
    source = source_for(rule.rule.logsource)
    fields = schema_of(source).fields if source else {}
    kinds = [fields.get(path) for path in paths]
    return all(kind and kind.kind == "keyword" and not kind.lowered for kind in kinds)


def _columns(paths: Sequence[str]) -> dict[str, Any]:
    """Return what to ask for so that no document is read, only what the index keeps beside them."""
    return {"docvalue_fields": [TIME_FIELD, _EVENT_ID, *paths], "_source": False, "stored_fields": "_none_"}


def _sketched(hit: Mapping[str, Any], paths: Sequence[str]) -> Match:
    fields = hit["fields"]
    flat = Flat({path: fields[path] for path in paths if path in fields})
    # Documents of two shards can have one number, but not one event.
    name = f"{hit['_index']} {hit['sort'][-1]} {fields[_EVENT_ID][0]}"
    return Match(hit["_index"], name, int(float(fields["@timestamp"][0])), flat)


def _incomplete(answer: Mapping[str, Any]) -> str | None:
    """Return what is wrong. If all the indices have been deleted no shard answers, and nothing is missing."""
    return None if answer.get("_shards", {}).get("total") == 0 else incomplete(answer)


def _keep(found: dict[str, Match], match: Match) -> None:
    """Keep one of an event's copies (a day's index and the one for misdated events may both have it)."""
    other = found.get(match.id)
    if other is None or match.index < other.index:
        found[match.id] = match
