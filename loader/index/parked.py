"""Dead letters: what can never be indexed as it is, kept whole, with the place it came from and the reason."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.clock import Clock, rfc3339
from loader.errors import ClusterError
from loader.index.bulk import DUPLICATE, INDEXED, BulkWriter, Item, Verdict
from loader.index.identifiers import derived_id
from loader.source.objects import ObjectRef

PATTERN = "siem-dead-letters-*"
#: Oldest first, and total: no two letters have the same place, record and sequence number in one index.
_ORDER = ({"@timestamp": "asc"}, {"_seq_no": "asc"}, {"key": "asc"}, {"record_number": "asc"})
_MESSAGE_CHARS = 2000
#: What is kept of a letter that is too long for the cluster.
_SHORTENED_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record, one stretch of an object, one object (``record_number`` 0) or one message.

    ``stage`` says who gave up: ``message``, ``fetch``, ``split``, ``normalise`` or ``index``.
    """

    ref: ObjectRef
    stage: str
    reason: str
    message: str
    raw: bytes = b""
    record_number: int = 0
    index: str | None = None
    #: CloudWatch Logs' id of the event, where the record came through it.
    event_id: str | None = None
    #: Whether ``raw`` is only the beginning of what was there, or stands for what was not read at all.
    cut: bool = False

    def id(self) -> str:
        """Return the derived id: the same failure found again is the same dead letter.

        An object is another one with another etag; a record is the same wherever it is found.
        """
        ref = self.ref
        etag = None if self.raw else ref.etag
        return derived_id(ref.bucket, ref.key, ref.version_id, self.record_number, self.reason, self.raw, etag)

    def document(self, now: str) -> dict[str, Any]:
        """Return the document, as ``mappings/index/siem-dead-letters.json`` has it."""
        try:
            raw, encoding = self.raw.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            raw, encoding = b64encode(self.raw).decode(), "base64"
        found: dict[str, Any] = {
            "@timestamp": now,
            "reason": self.reason,
            "message": self.message[:_MESSAGE_CHARS],
            "stage": self.stage,
            "bucket": self.ref.bucket,
            "key": self.ref.key,
            "version_id": self.ref.version_id,
            "etag": self.ref.etag,
            "record_number": self.record_number,
            "event_id": self.event_id,
            "index": self.index,
            "raw": raw,
            "raw_encoding": encoding,
            "cut": self.cut or None,
        }
        return {name: value for name, value in found.items() if value is not None}


class DeadLetterOffice:
    """Writes dead letters and returns only when they are there."""

    def __init__(self, client: OpenSearch, writer: BulkWriter, *, clock: Clock, bulk_max_bytes: int) -> None:
        self._client = client
        self._writer = writer
        self._clock = clock
        self._bulk_max_bytes = bulk_max_bytes

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Write ``letters``. Of one that the cluster does not take for its length, the beginning is kept.

        Raises:
            ClusterError: one of them could not be written: whatever they came from must not be acknowledged.
        """
        moment = self._clock.now()
        index, now = f"siem-dead-letters-{moment:%Y.%m}", rfc3339(moment)
        batch: list[tuple[DeadLetter, Item]] = []
        size = 0
        for letter in letters:
            item = _item(letter, index, now)
            if batch and size + len(item.body) > self._bulk_max_bytes:
                self._send(batch, now)
                batch, size = [], 0
            batch.append((letter, item))
            size += len(item.body)
        if batch:
            self._send(batch, now)

    def _send(self, batch: Sequence[tuple[DeadLetter, Item]], now: str) -> None:
        known = []
        for (letter, item), verdict in zip(batch, self._writer.write([item for _, item in batch]), strict=True):
            if verdict is DUPLICATE:
                known.append(item)
            elif verdict is not INDEXED:
                self._shorten(letter, item, verdict, now)
        if known:
            self._revive(known)

    def _shorten(self, letter: DeadLetter, item: Item, refused: Verdict, now: str) -> None:
        """Write what the cluster takes of a letter that it has refused."""
        if len(letter.raw) <= _SHORTENED_BYTES:
            where = f"{item.index}/{item.id}"
            raise ClusterError(f"a dead letter could not be written: {refused.kind}: {refused.reason}", where=where)
        short = _item(replace(letter, raw=letter.raw[:_SHORTENED_BYTES], cut=True), item.index, now)
        short.id = item.id
        self._send([(replace(letter, raw=b""), short)], now)

    def _revive(self, known: Sequence[Item]) -> None:
        """Let letters wait again that were replayed once: what they are about has failed again."""
        for item in known:
            try:
                found = self._client.get(index=item.index, id=item.id, params={"_source_includes": "replayed"})
                if "replayed" in found.get("_source", {}):
                    self._client.index(index=item.index, id=item.id, body=item.body)
            except TransportError as error:
                raise ClusterError(f"a dead letter could not be written: {error.error}", where=item.index) from None


def _item(letter: DeadLetter, index: str, now: str) -> Item:
    return Item(letter.record_number, b"", index, letter.id(), orjson.dumps(letter.document(now)))


@dataclass(frozen=True, slots=True)
class ParkedLetter:
    """A dead letter as it lies in the cluster."""

    index: str
    id: str
    letter: DeadLetter


def read_letters(client: OpenSearch, *, reasons: Sequence[str] = (), page: int = 100) -> Iterator[ParkedLetter]:
    """Yield the dead letters that have not been replayed, oldest first; ``reasons`` narrows them down.

    The records in them are read one by one: a page of long ones is more than a small node can hold.

    Raises:
        ClusterError: they cannot be read.
    """
    conditions: list[dict[str, Any]] = [{"terms": {"reason": list(reasons)}}] if reasons else []
    query = {"bool": {"filter": conditions, "must_not": [{"exists": {"field": "replayed"}}]}}
    after: list[Any] | None = None
    while True:
        body: dict[str, Any] = {"size": page, "query": query, "sort": list(_ORDER), "_source": {"excludes": ["raw"]}}
        if after is not None:
            body["search_after"] = after
        try:
            answer = client.search(index=PATTERN, body=body, params={"ignore_unavailable": "true"})
            hits = answer["hits"]["hits"]
            if not hits:
                return
            after = hits[-1]["sort"]
            for hit in hits:
                source = hit["_source"]
                if source.get("raw_encoding"):
                    source = client.get(index=hit["_index"], id=hit["_id"])["_source"]
                yield ParkedLetter(hit["_index"], hit["_id"], _letter(source))
        except TransportError as error:
            raise ClusterError(f"dead letters cannot be read: {error.error}", where=PATTERN) from None


def _letter(source: dict[str, Any]) -> DeadLetter:
    raw = str(source.get("raw", ""))
    return DeadLetter(
        ref=ObjectRef(source["bucket"], source["key"], source.get("version_id"), source.get("etag")),
        stage=source["stage"],
        reason=source["reason"],
        message=source.get("message", ""),
        raw=b64decode(raw) if source.get("raw_encoding") == "base64" else raw.encode(),
        record_number=int(source.get("record_number", 0)),
        index=source.get("index"),
        event_id=source.get("event_id"),
        cut=bool(source.get("cut", False)),
    )


def mark_replayed(client: OpenSearch, parked: ParkedLetter, now: str) -> None:
    """Note that a letter has been dealt with. It stays where it is, for the record.

    Raises:
        ClusterError: it could not be noted; replaying it again does no harm.
    """
    try:
        client.update(index=parked.index, id=parked.id, body={"doc": {"replayed": now}})
    except TransportError as error:
        raise ClusterError(
            f"cannot be marked as replayed: {error.error}", where=f"{parked.index}/{parked.id}"
        ) from None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Dead letters with one reason that have not been replayed: how many, and the newest one's place and message."""

    count: int
    place: str
    message: str


def waiting_letters(client: OpenSearch) -> dict[str, Waiting]:
    """Return what waits, by reason.

    Raises:
        ClusterError: they cannot be counted.
    """
    newest = {"size": 1, "sort": [{"@timestamp": "desc"}], "_source": ["bucket", "key", "record_number", "message"]}
    body = {
        "size": 0,
        "query": {"bool": {"must_not": [{"exists": {"field": "replayed"}}]}},
        "aggs": {
            "reasons": {"terms": {"field": "reason", "size": 1000}, "aggs": {"newest": {"top_hits": newest}}},
        },
    }
    try:
        answer = client.search(index=PATTERN, body=body, params={"ignore_unavailable": "true"})
    except TransportError as error:
        raise ClusterError(f"dead letters cannot be counted: {error.error}", where=PATTERN) from None
    found: dict[str, Waiting] = {}
    for bucket in answer.get("aggregations", {}).get("reasons", {}).get("buckets", []):
        source = bucket["newest"]["hits"]["hits"][0]["_source"]
        uri, number = ObjectRef(source["bucket"], source["key"]).uri, int(source.get("record_number", 0))
        place = f"{uri}#{number}" if number else uri
        found[bucket["key"]] = Waiting(int(bucket["doc_count"]), place, source.get("message", ""))
    return found


def count_letters(client: OpenSearch) -> dict[str, int]:
    """Return the number of dead letters not yet replayed, by reason.

    Raises:
        ClusterError: they cannot be counted.
    """
    return {reason: waiting.count for reason, waiting in waiting_letters(client).items()}
