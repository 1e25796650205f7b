"""The ledger: one document for each object, so that "was this file loaded?" has an answer with figures."""

from __future__ import annotations

import re
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConflictError, TransportError

from loader.errors import ClusterError
from loader.index.identifiers import derived_id
from loader.source.objects import ObjectRef

_KEY_DATE = re.compile(r"_(\d{4})(\d{2})\d{2}T\d{4}Z|/(\d{4})/(\d{2})/\d{2}/")
#: What a later load of the same object adds, beside the figures of the load that first succeeded.
_COUNTS = ("read", "indexed", "duplicates", "dead_lettered", "dropped", "balanced")


def ledger_index(ref: ObjectRef) -> str:
    """Return ``siem-objects-YYYY.MM`` by the date in the object's key: a later load finds the same entry."""
    match = _KEY_DATE.search(ref.key)
    if match is None:
        return "siem-objects-undated"
    year, month = match.group(1) or match.group(3), match.group(2) or match.group(4)
    return f"siem-objects-{year}.{month}"


def _id(ref: ObjectRef, reason: object) -> str:
    """Return an entry's derived id. An object that was replaced has its own, beside that of what is there now."""
    if reason == "replaced":
        return derived_id(ref.bucket, ref.key, ref.version_id, ref.etag)
    return derived_id(ref.bucket, ref.key, ref.version_id)


class Ledger:
    """Writes one entry an object. An entry of a successful load is never overwritten by a later one."""

    def __init__(self, client: OpenSearch) -> None:
        self._client = client

    def write(self, ref: ObjectRef, entry: dict[str, Any]) -> None:
        """Record that ``ref`` was dealt with.

        Raises:
            ClusterError: the entry could not be written.
        """
        index = ledger_index(ref)
        identifier = _id(ref, entry.get("reason"))
        try:
            try:
                self._client.create(index=index, id=identifier, body={**entry, "loads": 1})
            except ConflictError:
                self._again(index, identifier, entry)
        except TransportError as error:
            raise ClusterError(f"the ledger could not be written: {error.error}", where=index) from None

    def _again(self, index: str, identifier: str, entry: dict[str, Any]) -> None:
        known = self._client.get(index=index, id=identifier)["_source"]
        loads = int(known.get("loads", 1)) + 1
        is_another = known.get("etag") != entry.get("etag") and entry.get("outcome") == "loaded"
        if known.get("outcome") != "loaded" or is_another:
            self._client.index(index=index, id=identifier, body={**entry, "loads": loads})
            return
        latest = {name: entry[name] for name in _COUNTS if name in entry}
        latest["@timestamp"] = entry["@timestamp"]
        self._client.update(index=index, id=identifier, body={"doc": {"loads": loads, "latest": latest}})


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


def parked_objects(client: OpenSearch, *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the entries of objects that wait for a person (archived, forbidden, missing …), newest first.

    Raises:
        ClusterError: the ledger cannot be read.
    """
    body = {"size": limit, "query": {"term": {"outcome": "parked"}}, "sort": [{"@timestamp": "desc"}]}
    return [hit["_source"] for hit in _search(client, body)["hits"]["hits"]]


def _search(client: OpenSearch, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = client.search(index=PATTERN, body=body, params={"ignore_unavailable": "true"})
    except TransportError as error:
        raise ClusterError(f"the ledger cannot be read: {error.error}", where=PATTERN) from None
    return answer
