"""Asking many questions of many shards: ``_msearch``, page by page, and whether the answers are whole.

An answer counts only if no search timed out, no shard failed and every page was read: anything less is a failure of
that question, and its range stays unexamined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.clock import Clock
from loader.detection.cursor import preference
from loader.detection.matches import SHOWN_FIELDS, TIME_FIELD, Match, match_of
from loader.detection.model import Engine, Query
from loader.detection.plan import Slice
from loader.errors import ClusterError

#: Searches in one request, and hits in one page of a search.
_TOGETHER = 128
_PAGE = 500
_TIMEOUT = "50s"
_BUSY = 429
#: A request that is malformed or too large.
_REFUSED = (400, 413)
_ATTEMPTS = 4

#: Takes the matches of one page, in the order of sequence numbers.
Sink = Callable[[Sequence[Match]], None]


@dataclass(slots=True)
class Question:
    """One query over one slice. ``accept`` decides on each hit when the query alone is not exact."""

    query: Query
    over: Slice
    sinks: list[Sink]
    accept: Callable[[Mapping[str, Any]], bool] | None = None
    #: Paths of ``_source`` to read; ``None`` reads all of it.
    fields: tuple[str, ...] | None = SHOWN_FIELDS
    #: Only a figure depends on it: its failure does not count against the rule.
    optional: bool = False
    #: Why it could not be answered.
    failure: str | None = None


class Searcher:
    """Asks questions. One object serves one cycle; nothing is kept between calls."""

    def __init__(self, client: OpenSearch, *, engine: Engine, clock: Clock, page: int = _PAGE) -> None:
        self._client = client
        self._engine = engine
        self._clock = clock
        self._page = page
        #: Searches sent, for the report.
        self.searches = 0

    def ask(self, questions: Sequence[Question]) -> None:
        """Answer all ``questions``: their sinks get the matches, those that failed have a ``failure``.

        Raises:
            ClusterError: the cluster cannot be reached, or stays too busy.
        """
        waiting: list[tuple[Question, int | None]] = [(question, None) for question in questions]
        while waiting:
            again: list[tuple[Question, int | None]] = []
            for start in range(0, len(waiting), _TOGETHER):
                batch = waiting[start : start + _TOGETHER]
                answers = self.search([self._request(question, after) for question, after in batch])
                for (question, _), answer in zip(batch, answers, strict=True):
                    after = self._read(question, answer)
                    if after is not None:
                        again.append((question, after))
            waiting = again

    def search(self, requests: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[dict[str, Any]]:
        """Send ``(header, body)`` pairs as one ``_msearch`` and return an answer for each; busy ones are sent again.

        Raises:
            ClusterError: the cluster cannot be reached, or stays too busy.
        """
        answers: list[dict[str, Any]] = [{}] * len(requests)
        waiting = list(range(len(requests)))
        for attempt in range(_ATTEMPTS):
            for position, answer in zip(waiting, self._send([requests[p] for p in waiting]), strict=True):
                answers[position] = answer
            waiting = [position for position in waiting if answers[position].get("status") == _BUSY]
            if not waiting:
                break
            self._clock.sleep(2.0**attempt)
        return answers

    def _send(self, requests: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[dict[str, Any]]:
        """Send one request. If it is refused as a whole, find the question that nobody can parse by halving."""
        self.searches += len(requests)
        try:
            found: list[dict[str, Any]] = self._client.msearch(body=[part for pair in requests for part in pair])[
                "responses"
            ]
        except TransportError as error:
            if error.status_code == _BUSY:
                return [{"status": _BUSY, "error": {"type": "busy", "reason": str(error.error)}}] * len(requests)
            if error.status_code not in _REFUSED:
                raise ClusterError(f"cannot search: {error.error}", where="_msearch") from None
            if len(requests) == 1:
                reason = error.info.get("error", error.error) if isinstance(error.info, Mapping) else error.error
                return [{"status": error.status_code, "error": reason}]
            middle = len(requests) // 2
            return self._send(requests[:middle]) + self._send(requests[middle:])
        return found

    def header(self, index: str, shard: int | None = None) -> dict[str, Any]:
        """Return the header of one search in a request: part answers are refused."""
        header: dict[str, Any] = {"index": index, "allow_partial_search_results": False}
        if shard is not None:
            header["preference"] = preference(self._engine, shard)
        elif self._engine == "opensearch":
            header["preference"] = "_primary"
        return header

    def _request(self, question: Question, after: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
        over = question.over
        first = over.first if after is None else after + 1
        numbers = {"range": {"_seq_no": {"gte": first, "lte": over.last}}}
        body: dict[str, Any] = {
            "size": self._page,
            "timeout": _TIMEOUT,
            "track_total_hits": False,
            "query": {"bool": {"filter": [numbers, question.query]}},
            "sort": [{"_seq_no": "asc"}],
            "docvalue_fields": [TIME_FIELD],
            "_source": list(question.fields) or False if question.fields is not None else True,
        }
        return self.header(over.shard.index, over.shard.number), body

    def _read(self, question: Question, answer: Mapping[str, Any]) -> int | None:
        """Take a page in. Return the last sequence number when there may be more."""
        question.failure = incomplete(answer)
        if question.failure:
            return None
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        accept = question.accept
        try:
            matches = [match_of(hit) for hit in hits if accept is None or accept(hit["_source"])]
        except Exception as error:  # a fault in one rule's condition is that rule's, whatever it is
            question.failure = f"its condition cannot be evaluated: {type(error).__name__}: {error}"
            return None
        if matches:
            for sink in question.sinks:
                sink(matches)
        return int(hits[-1]["sort"][0]) if len(hits) == self._page else None


def incomplete(answer: Mapping[str, Any]) -> str | None:
    """Return why an answer to a search cannot be relied on, or ``None``."""
    if "error" in answer:
        return describe_error(answer["error"])
    if answer.get("timed_out"):
        return "the search timed out"
    shards = answer["_shards"]
    if shards["failed"]:
        reasons = [describe_error(failure.get("reason", {})) for failure in shards.get("failures", [])]
        return f"{shards['failed']} of {shards['total']} shards failed: {'; '.join(reasons[:3]) or 'no reason given'}"
    if shards["successful"] < 1:
        return "no shard answered"
    return None


def describe_error(error: Any) -> str:
    """Return the server's error as a line: its type and the innermost reason."""
    if not isinstance(error, Mapping):
        return str(error)
    kind, reason = error.get("type", "error"), error.get("reason", "")
    for inner in _causes(error):
        kind, reason = inner.get("type", kind), inner.get("reason", reason)
    return f"{kind}: {reason}" if reason else str(kind)


def _causes(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from error.get("root_cause", [])[:1]
    for shard in error.get("failed_shards", [])[:1]:
        reason = shard.get("reason", {})
        if isinstance(reason, Mapping):
            yield reason
            if isinstance(reason.get("caused_by"), Mapping):
                yield reason["caused_by"]
