"""Dead letters: what can never be indexed as it is, kept whole, with the place it came from and the reason."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import TransportError

from loader.clock import Clock, rfc3339
from loader.errors import ClusterError
from loader.index.bulk import bulk_path
from loader.index.identifiers import derived_id
from loader.index.outcomes import error_of, items_of
from loader.source.objects import ObjectRef

PATTERN = "siem-dead-letters-*"
#: Oldest first, and total: no two letters have the same place, record and sequence number in one index.
_ORDER = ({"@timestamp": "asc"}, {"_seq_no": "asc"}, {"key": "asc"}, {"record_number": "asc"})
#: Bytes of dead letters in one request.
_BATCH_BYTES = 20 * 2**20
_MESSAGE_CHARS = 2000


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

    def id(self) -> str:
        """Return the derived id: the same failure found again is the same dead letter."""
        ref = self.ref
        return derived_id(ref.bucket, ref.key, ref.version_id, self.record_number, self.reason, self.raw)

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
        }
        return {name: value for name, value in found.items() if value is not None}


class DeadLetterOffice:
    """Writes dead letters and returns only when they are there."""

    def __init__(self, client: OpenSearch, *, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Write ``letters``.

        Raises:
            ClusterError: one of them could not be written: whatever they came from must not be acknowledged.
        """
        moment = self._clock.now()
        index, now = f"siem-dead-letters-{moment:%Y.%m}", rfc3339(moment)
        batch: list[bytes] = []
        size = 0
        for letter in letters:
            action = orjson.dumps({"create": {"_id": letter.id()}})
            line = action + b"\n" + orjson.dumps(letter.document(now)) + b"\n"
            if batch and size + len(line) > _BATCH_BYTES:
                self._send(index, batch)
                batch, size = [], 0
            batch.append(line)
            size += len(line)
        if batch:
            self._send(index, batch)

    def _send(self, index: str, batch: list[bytes]) -> None:
        try:
            answer = self._client.transport.perform_request(
                "POST", bulk_path(index), headers={"content-type": "application/x-ndjson"}, body=b"".join(batch)
            )
        except TransportError as error:
            raise ClusterError(f"dead letters could not be written: {error.error}", where=index) from None
        entries = items_of(answer, len(batch))
        if entries is None:
            raise ClusterError("the cluster does not say whether the dead letters were written", where=index)
        for entry in entries:
            if entry.get("error") and entry.get("status") != 409:
                kind, reason = error_of(entry["error"])
                raise ClusterError(f"a dead letter could not be written: {kind}: {reason}", where=index)


@dataclass(frozen=True, slots=True)
class ParkedLetter:
    """A dead letter as it lies in the cluster."""

    index: str
    id: str
    letter: DeadLetter


def read_letters(client: OpenSearch, *, reasons: Sequence[str] = (), page: int = 100) -> Iterator[ParkedLetter]:
    """Yield the dead letters that have not been replayed, oldest first; ``reasons`` narrows them down.

    Raises:
        ClusterError: they cannot be read.
    """
    conditions: list[dict[str, Any]] = [{"terms": {"reason": list(reasons)}}] if reasons else []
    query = {"bool": {"filter": conditions, "must_not": [{"exists": {"field": "replayed"}}]}}
    after: list[Any] | None = None
    while True:
        body: dict[str, Any] = {"size": page, "query": query, "sort": list(_ORDER)}
        if after is not None:
            body["search_after"] = after
        try:
            answer = client.search(index=PATTERN, body=body, params={"ignore_unavailable": "true"})
        except TransportError as error:
            raise ClusterError(f"dead letters cannot be read: {error.error}", where=PATTERN) from None
        hits = answer["hits"]["hits"]
        if not hits:
            return
        after = hits[-1]["sort"]
        for hit in hits:
            yield ParkedLetter(hit["_index"], hit["_id"], _letter(hit["_source"]))


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
