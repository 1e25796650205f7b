"""Load what is there already: stateless, and resumable because ids are derived."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import quote_plus

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from loader.errors import SiemError, SourceError
from loader.ingest.allowance import Allowance
from loader.ingest.objects import Arrival, ObjectLoader, Outcome
from loader.ingest.queue_errors import queue_error
from loader.ingest.report import ObjectReport, Totals
from loader.source.objects import ObjectRef

log = logging.getLogger(__name__)

_SQS_BATCH = 10
#: Objects in one group, and their bytes as stored.
_GROUP = 16
_GROUP_BYTES = 2**20


@dataclass(slots=True)
class BackfillResult:
    """The accounts of a backfill, and what is not loaded: run the same backfill again for it."""

    totals: Totals = field(default_factory=Totals)
    #: Objects that could not be loaded now.
    failed: list[tuple[ObjectRef, SiemError]] = field(default_factory=list)
    #: Objects that wait for a person as dead letters, by reason.
    parked: list[tuple[ObjectRef, str]] = field(default_factory=list)
    #: Objects that were not begun, because it was told to stop.
    not_tried: int = 0


def load_all(
    loader: ObjectLoader,
    refs: Sequence[ObjectRef],
    *,
    workers: int,
    on_report: Callable[[ObjectRef, ObjectReport | None], None] = lambda _ref, _report: None,
    stop: threading.Event | None = None,
) -> BackfillResult:
    """Load ``refs`` with ``workers`` threads, a bounded number ahead of what is done.

    One object's failure, even by a defect of ours, does not end the others; it is in ``failed``. ``stop`` ends after
    what is in work; what was not begun then is counted.
    """
    taken = _Taken(on_report)
    waiting: dict[Future[list[Outcome]], list[ObjectRef]] = {}

    def go_on() -> bool:
        return stop is None or not stop.is_set()

    def collect(most: int) -> None:
        while len(waiting) > most:
            for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                group, error = waiting.pop(done), done.exception()
                outcomes = done.result() if error is None else [error] * len(group)
                for ref, outcome in zip(group, outcomes, strict=True):
                    taken.take(ref, outcome)

    with ThreadPoolExecutor(workers, thread_name_prefix="backfill") as pool:
        for group in _groups(filter(taken.has_a_name, refs)):
            if not go_on():
                break
            arrivals = [Arrival(ref) for ref in group]
            waiting[pool.submit(loader.load_together, arrivals, Allowance(may_begin=go_on))] = group
            collect(workers * 2 - 1)
        collect(0)
    result = taken.result
    result.not_tried = len(refs) - result.totals.objects - len(result.failed)
    return result


class _Taken:
    """What became of objects, as far as it is known."""

    def __init__(self, on_report: Callable[[ObjectRef, ObjectReport | None], None]) -> None:
        self.result = BackfillResult()
        self._on_report = on_report

    def take(self, ref: ObjectRef, outcome: Outcome | BaseException) -> None:
        """Count what became of an object."""
        if outcome is None:
            return
        if isinstance(outcome, ObjectReport):
            self.result.totals.add(outcome)
            if outcome.outcome == "parked":
                self.result.parked.append((ref, outcome.reason or "unknown"))
            self._on_report(ref, outcome)
            return
        if not isinstance(outcome, SiemError):
            log.error("an object is not loaded for a defect of the loader", extra={"uri": ref.uri}, exc_info=outcome)
            outcome = SiemError(f"a defect of the loader, please report it: {type(outcome).__name__}: {outcome}")
        self.result.failed.append((ref, outcome))
        self._on_report(ref, None)

    def has_a_name(self, ref: ObjectRef) -> bool:
        """Tell whether a key can be written into the ledger: a local file may have a name that is no Unicode text."""
        try:
            ref.key.encode()
        except UnicodeEncodeError:
            self.take(ref, SourceError("the file's name is no UTF-8: rename it", kind="bad_name"))
            return False
        return True


def _groups(refs: Iterable[ObjectRef]) -> Iterator[list[ObjectRef]]:
    """Yield ``refs`` in groups that one thread loads together: small objects share requests."""
    group: list[ObjectRef] = []
    size = 0
    for ref in refs:
        stored = _GROUP_BYTES if ref.size is None else ref.size
        if group and (len(group) >= _GROUP or size + stored > _GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(ref)
        size += stored
    if group:
        yield group


def s3_event(ref: ObjectRef) -> dict[str, Any]:
    """Return the S3 event record that announces ``ref``, as S3 itself would send it.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    """
    entry: dict[str, Any] = {"key": quote_plus(ref.key, safe="/"), "size": ref.size, "eTag": ref.etag}
    if ref.version_id:
        entry["versionId"] = ref.version_id
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        # When it was written, as far as that is known: the ledger and the metrics tell the lag since then.
        **({"eventTime": ref.delivered} if ref.delivered else {}),
        "eventName": "ObjectCreated:Put",
        "awsRegion": ref.region or "",
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "siem-backfill",
            "bucket": {"name": ref.bucket, "arn": f"arn:aws:s3:::{ref.bucket}"},
            "object": entry,
        },
    }


def enqueue_all(
    sqs: Any,
    queue_url: str,
    refs: Iterable[ObjectRef],
    on_sent: Callable[[int], None],
    *,
    stop: threading.Event | None = None,
) -> int:
    """Put a message for each of ``refs`` into the queue, so that a fleet of workers shares the backfill.

    ``sqs`` is a boto3 client. ``on_sent`` is told after each request how many messages the queue has taken so far,
    which is also what is returned in the end. ``stop`` ends it between two requests.

    Raises:
        SiemError: the queue cannot be used (a ``ConfigError`` if it is none), or refused a message. What was sent
            before is in the queue; sending it again only makes duplicates that are counted as such.
    """
    sent = 0
    coming = iter(refs)
    while not (stop is not None and stop.is_set()) and (batch := list(islice(coming, _SQS_BATCH))):
        try:
            answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=_entries(queue_url, batch))
        except (BotoCoreError, ClientError) as error:
            raise queue_error(error, queue_url) from None
        sent += len(answer.get("Successful", []))
        on_sent(sent)
        if failed := answer.get("Failed", []):
            raise SiemError(
                f"the queue refused {len(failed)} of {len(batch)} messages: {failed[0].get('Message')}",
                where=batch[int(failed[0]["Id"])].uri,
            )
    return sent


def _entries(queue_url: str, batch: Sequence[ObjectRef]) -> list[dict[str, str]]:
    entries = [
        {"Id": str(number), "MessageBody": orjson.dumps({"Records": [s3_event(ref)]}).decode()}
        for number, ref in enumerate(batch)
    ]
    if queue_url.endswith(".fifo"):
        for entry, ref in zip(entries, batch, strict=True):
            name = hashlib.sha256(ref.uri.encode()).hexdigest()
            entry |= {"MessageGroupId": name, "MessageDeduplicationId": name}
    return entries
