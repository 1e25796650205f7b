"""Reading the events of a stretch of time: what a window needs beside the new ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.detection.alerts import at
from loader.detection.cursor import belongs
from loader.detection.matches import SHOWN_FIELDS, TIME_FIELD, Match, match_of
from loader.detection.model import CompiledRule, Query
from loader.detection.search import Searcher, incomplete
from loader.errors import ClusterError, RuleError

_DAY_MS = 86_400_000
_DATED = re.compile(r"-(\d{4}\.\d{2}\.\d{2})$")
_PAGE = 2000
#: Events of one base rule in one stretch of time. More means that the rule's base is not selective enough.
_MOST = 500_000
_TOGETHER = 500


class EventReader:
    """Reads matches by time, and events by id."""

    def __init__(
        self, client: OpenSearch, searcher: Searcher, indices: Iterable[str], *, page: int = _PAGE, most: int = _MOST
    ) -> None:
        self._client = client
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
        period: Query = {"range": {"@timestamp": {"gte": start, "lte": end, "format": "epoch_millis"}}}
        body: dict[str, Any] = {
            "size": self._page,
            "timeout": "50s",
            "track_total_hits": False,
            "query": {"bool": {"filter": [period, *also, rule.query]}},
            "sort": [{"@timestamp": "asc"}, {"_seq_no": "asc"}],
            "docvalue_fields": [TIME_FIELD],
            "_source": True if accept else list(paths),
        }
        header = self._searcher.header(",".join(names)) | {"ignore_unavailable": True}
        found: dict[str, Match] = {}
        while True:
            answer = self._searcher.search([(header, body)])[0]
            # The indices may all have been deleted meanwhile: then no shard answers, and nothing is missing.
            if (failure := incomplete(answer)) and answer.get("_shards", {}).get("total") != 0:
                raise RuleError(failure, where=rule.rule.where)
            hits = answer["hits"]["hits"]
            for hit in hits:
                if accept is None or accept(hit["_source"]):
                    _keep(found, match_of(hit))
            if len(hits) < self._page:
                return list(found.values())
            if len(found) > self._most:
                raise RuleError(
                    f"more than {self._most} events between {at(start)} and {at(end)}",
                    where=rule.rule.where,
                    hint="Make the rule it counts more selective.",
                )
            # Two shards can have one number at one time: the next page begins with the last hit's neighbours again.
            time, number = hits[-1]["sort"]
            body = {**body, "search_after": [time, number - 1]}

    def sources(self, matches: Sequence[Match]) -> list[Match]:
        """Return ``matches`` with everything of their source that alerts show. What is gone stays as it is."""
        shown: list[Match] = []
        for start in range(0, len(matches), _TOGETHER):
            batch = matches[start : start + _TOGETHER]
            try:
                answer = self._client.mget(
                    body={"docs": [{"_index": match.index, "_id": match.id} for match in batch]},
                    params={"_source_includes": ",".join(SHOWN_FIELDS)},
                )
            except NotFoundError:
                shown += batch
                continue
            except TransportError as error:
                raise ClusterError(f"cannot read evidence: {error.error}", where="_mget") from None
            for match, doc in zip(batch, answer["docs"], strict=True):
                shown.append(Match(match.index, match.id, match.time, doc["_source"]) if doc.get("found") else match)
        return shown

    def _names(self, pattern: str, start: int, end: int) -> list[str]:
        """Return the indices that may hold events of that time: daily ones by the date in their name."""
        first, last = f"{at(start - _DAY_MS):%Y.%m.%d}", f"{at(end + _DAY_MS):%Y.%m.%d}"
        return [
            index
            for index in self._indices
            if belongs(index, pattern) and (not (dated := _DATED.search(index)) or first <= dated[1] <= last)
        ]


def _keep(found: dict[str, Match], match: Match) -> None:
    """Keep one of an event's copies (a day's index and the one for misdated events may both have it)."""
    other = found.get(match.id)
    if other is None or match.index < other.index:
        found[match.id] = match
