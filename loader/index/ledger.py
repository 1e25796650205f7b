"""The ledger: one document for each object, so that "was this file loaded?" has an answer with figures."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.clock import Clock, months_ahead
from loader.errors import ClusterError
from loader.index.bulk import bulk_path
from loader.index.identifiers import derived_id
from loader.index.outcomes import error_of, items_of
from loader.source.objects import ObjectRef

_KEY_DATE = re.compile(r"_(\d{4})(0[1-9]|1[0-2])\d{2}T\d{4}Z|/(\d{4})/(0[1-9]|1[0-2])/\d{2}/", re.ASCII)
#: CloudTrail has been there since then.
_FIRST_YEAR = 2013
#: What a later load of the same object adds, beside the figures of the load that first succeeded.
_COUNTS = ("read", "indexed", "duplicates", "dead_lettered", "dropped", "balanced")
_CONFLICT = 409


def ledger_index(ref: ObjectRef, now: datetime) -> str:
    """Return ``siem-objects-YYYY.MM`` by the date in the object's key: a later load finds the same entry.

    A month before CloudTrail's first year, or one that is yet to come, is ``undated``: whoever names objects must not
    choose among more indices than there were months.
    """
    match = _KEY_DATE.search(ref.key)
    if match is None:
        return _UNDATED
    year, month = match.group(1) or match.group(3), match.group(2) or match.group(4)
    is_known = int(year) >= _FIRST_YEAR and months_ahead(now, int(year), int(month)) <= 1
    return f"siem-objects-{year}.{month}" if is_known else _UNDATED


_UNDATED = "siem-objects-undated"


def _id(ref: ObjectRef, reason: object) -> str:
    """Return an entry's derived id. An object that was replaced has its own, beside that of what is there now."""
    if reason == "replaced":
        return derived_id(ref.bucket, ref.key, ref.version_id, ref.etag)
    return derived_id(ref.bucket, ref.key, ref.version_id)


#: An object's entry on its way: its id in the index, and its figures.
_Entry = tuple[str, dict[str, Any]]


class Ledger:
    """Writes one entry an object. Only what another object under the same key came to replaces a successful load."""

    def __init__(self, client: OpenSearch, *, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    def write(self, entries: Iterable[tuple[ObjectRef, dict[str, Any]]]) -> None:
        """Record that each of these objects was dealt with, in as few requests as there are months.

        Raises:
            ClusterError: an entry could not be written.
        """
        by_index: defaultdict[str, list[_Entry]] = defaultdict(list)
        now = self._clock.now()
        for ref, entry in entries:
            by_index[ledger_index(ref, now)].append((_id(ref, entry.get("reason")), entry))
        for index, listed in by_index.items():
            try:
                known = self._create(index, listed)
                while known:
                    known = self._again(index, known)
            except TransportError as error:
                raise ClusterError(f"the ledger could not be written: {error.error}", where=index) from None

    def _create(self, index: str, listed: list[_Entry]) -> list[_Entry]:
        """Write entries that are new. Return those that are not."""
        lines = [({"create": {"_id": identifier}}, {**entry, "loads": 1}) for identifier, entry in listed]
        answered = self._send(index, lines, "create")
        return [entry for entry, status in zip(listed, answered, strict=True) if status == _CONFLICT]

    def _again(self, index: str, listed: list[_Entry]) -> list[_Entry]:
        """Bring entries up to date that are there. Return those to be looked at again: of an object that came twice."""
        entries = dict(reversed(listed))
        # GET, as Serverless has it; the client library's own call is a POST.
        answer = self._client.transport.perform_request("GET", f"/{index}/_mget", body={"ids": list(entries)})
        there = {found["_id"]: found for found in answer["docs"]}
        lines = []
        for identifier, entry in entries.items():
            known = there.get(identifier, {}).get("_source", {})
            loads = int(known.get("loads", 0)) + 1
            is_another = known.get("etag") != entry.get("etag")
            if known.get("outcome") != "loaded" or is_another:
                lines.append(({"index": {"_id": identifier}}, {**entry, "loads": loads}))
                continue
            latest = {name: entry[name] for name in _COUNTS if name in entry}
            latest["@timestamp"] = entry["@timestamp"]
            lines.append(({"update": {"_id": identifier}}, {"doc": {"loads": loads, "latest": latest}}))
        # A conflict: another worker wrote at the same moment, and its figures are as good as these.
        self._send(index, lines, "index", "update")
        done = {id(entry) for entry in entries.values()}
        return [entry for entry in listed if id(entry[1]) not in done]

    def _send(self, index: str, lines: Sequence[tuple[object, object]], *actions: str) -> list[int]:
        """Send a ``_bulk`` request and return each line's status: a success, or a conflict."""
        body = b"".join([b"%b\n%b\n" % (orjson.dumps(action), orjson.dumps(entry)) for action, entry in lines])
        answer = self._client.transport.perform_request(
            "POST", bulk_path(index), headers={"content-type": "application/x-ndjson"}, body=body
        )
        answered = items_of(answer, len(lines), actions)
        if answered is None:
            raise ClusterError("the cluster does not say whether the ledger was written", where=index)
        for entry in answered:
            if entry.get("error") and entry["status"] != _CONFLICT:
                kind, reason = error_of(entry["error"])
                raise ClusterError(f"the ledger could not be written: {kind}: {reason}", where=index)
        return [entry["status"] for entry in answered]


PATTERN = "siem-objects-*"


def summary(client: OpenSearch) -> dict[str, Any]:
    """Return sums over the ledger: objects and records by outcome, unbalanced entries, the newest event.

    Raises:
        ClusterError: it cannot be read.
    """
    sums = {name: {"sum": {"field": name}} for name in _COUNTS if name != "balanced"}
    body = {
        "size": 0,
        "track_total_hits": True,
        "aggs": {
            **sums,
            "outcomes": {"terms": {"field": "outcome", "size": 10}},
            "unbalanced": {"filter": {"term": {"balanced": False}}},
            "newest": {"max": {"field": "last_event"}},
        },
    }
    answer = _search(client, body)
    found = answer.get("aggregations", {})
    return {
        "objects": answer["hits"]["total"]["value"],
        "outcomes": {bucket["key"]: bucket["doc_count"] for bucket in found.get("outcomes", {}).get("buckets", [])},
        **{name: int(found.get(name, {}).get("value") or 0) for name in sums},
        "unbalanced": found.get("unbalanced", {}).get("doc_count", 0),
        "newest_event": found.get("newest", {}).get("value_as_string"),
    }


def find_objects(client: OpenSearch, text: str, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the entries of objects whose key is, or contains, ``text`` (or ``s3://bucket/key``), newest load first.

    Raises:
        ClusterError: the ledger cannot be read.
    """
    conditions: list[dict[str, Any]] = []
    if text.startswith("s3://"):
        bucket, _, text = text.removeprefix("s3://").partition("/")
        conditions.append({"term": {"bucket": bucket}})
    escaped = re.sub(r"([*?\\])", r"\\\1", text)
    conditions.append({"wildcard": {"key": {"value": f"*{escaped}*"}}})
    body = {"size": limit, "query": {"bool": {"filter": conditions}}, "sort": [{"@timestamp": "desc"}]}
    return [hit["_source"] for hit in _search(client, body)["hits"]["hits"]]


@dataclass(frozen=True, slots=True)
class ParkedObjects:
    """Objects that wait for a person for one reason: how many, and the entries of the newest."""

    count: int
    newest: list[dict[str, Any]]


def parked_objects(client: OpenSearch, *, newest: int = 5) -> dict[str, ParkedObjects]:
    """Return the objects that wait for a person (archived, forbidden, missing …) by reason, so many of each.

    Raises:
        ClusterError: the ledger cannot be read.
    """
    hits = {"size": newest, "sort": [{"@timestamp": "desc"}]}
    reasons = {"terms": {"field": "reason", "size": 100}, "aggs": {"newest": {"top_hits": hits}}}
    answer = _search(client, {"size": 0, "query": {"term": {"outcome": "parked"}}, "aggs": {"reasons": reasons}})
    return {
        bucket["key"]: ParkedObjects(
            int(bucket["doc_count"]), [hit["_source"] for hit in bucket["newest"]["hits"]["hits"]]
        )
        for bucket in answer.get("aggregations", {}).get("reasons", {}).get("buckets", [])
    }


def _search(client: OpenSearch, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = client.search(index=PATTERN, body=body, params={"ignore_unavailable": "true"})
    except TransportError as error:
        raise ClusterError(f"the ledger cannot be read: {error.error}", where=PATTERN) from None
    return answer
