"""Load one object: read, normalise, index, park what cannot be, and balance the account."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from loader.clock import Clock, rfc3339
from loader.errors import RecordError, SiemError, SourceError
from loader.identity.model import Edge
from loader.index.bulk import BulkWriter, Item
from loader.index.ledger import Ledger
from loader.index.outcomes import Outcome
from loader.index.parked import DeadLetter, DeadLetterOffice
from loader.ingest.filters import Drop, keep_all
from loader.ingest.hinting import Hinter
from loader.ingest.known import KnownRecords
from loader.ingest.lag import seconds_between
from loader.ingest.report import ObjectReport
from loader.ingest.route import is_trail_delivery, route
from loader.ingest.sessions import SessionKeeper, edges_of
from loader.logtypes.model import LogType, ObjectContext
from loader.logtypes.times import delivery
from loader.source.fetch import Fetch, TransientSourceError
from loader.source.objects import Broken, Limits, ObjectRef, Piece
from loader.source.split import read_pieces

log = logging.getLogger(__name__)

#: More rejections of one type than this share of what was read so far is our mistake, not the data's …
_SUSPICIOUS_SHARE = 0.05
#: … once there are enough of them to tell.
_SUSPICIOUS_COUNT = 20
#: Dead letters are written once this many bytes of raw records wait.
_LETTERS_BYTES = 8 * 2**20
#: An object with more bad records than this is no log file: reading stops, and the object itself is parked.
_LETTERS_AN_OBJECT = 10_000


class SuspiciousRejectionsError(SiemError):
    """Too many documents of one object are refused for the same reason: nothing more is parked, the message waits."""


#: Records that are looked at together, before anything is made of them: so many, or so many bytes.
_TOGETHER = 4096
_TOGETHER_BYTES = 2**20
#: Sessions that were handed out are written at the latest when so many wait.
_EDGES_WAITING = 1024


@dataclass(slots=True)
class _Work:
    """One object's load, as far as it is."""

    log_type: LogType
    context: ObjectContext
    report: ObjectReport
    #: Records as read, and their bytes.
    pieces: list[Piece] = field(default_factory=list)
    pieces_size: int = 0
    #: Documents to be written, and their bytes.
    items: list[Item] = field(default_factory=list)
    items_size: int = 0
    issued: list[Edge] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    letters_size: int = 0

    @property
    def ref(self) -> ObjectRef:
        return self.report.ref


class ObjectLoader:
    """Loads objects, one call each. Safe to share between threads: all it keeps between calls are hints."""

    def __init__(
        self,
        *,
        fetch: Fetch,
        writer: BulkWriter,
        dead_letters: DeadLetterOffice,
        ledger: Ledger,
        sessions: SessionKeeper,
        known: KnownRecords,
        clock: Clock,
        limits: Limits,
        bulk_max_bytes: int,
        drop: Drop = keep_all,
        hinter: Hinter | None = None,
    ) -> None:
        self._fetch = fetch
        self._writer = writer
        self._dead_letters = dead_letters
        self._ledger = ledger
        self._sessions = sessions
        self._known = known
        self._clock = clock
        self._limits = limits
        self._bulk_max_bytes = bulk_max_bytes
        self._hinter = hinter or Hinter()
        self._drop = drop

    def load(self, ref: ObjectRef, content: bytes | None = None) -> ObjectReport:
        """Load ``ref`` whole, or raise with everything safe to be loaded again.

        ``content`` is the object as stored, where it came with the message that announced it; else it is fetched.

        Raises:
            TransientSourceError: S3 did not deliver; try again.
            HoldError, ClusterError: the cluster did not take what it should; try again.
            SuspiciousRejectionsError: more than 5% was refused for one reason.
            AccountingError: the equation does not hold.
        """
        started = self._clock.monotonic()
        report = ObjectReport(ref)
        target = route(ref)
        if isinstance(target, str):
            report.outcome, report.reason = "skipped", target
        else:
            report.log_type = target.name
            self._load_as(target, ref, content, report)
        report.check()
        report.seconds = self._clock.monotonic() - started
        self._close(report)
        return report

    def park(self, ref: ObjectRef, reason: str, message: str) -> ObjectReport:
        """Park ``ref`` as a whole under ``reason``: it can be tried again with a replay.

        Raises:
            ClusterError: that could not be written; the object must not be acknowledged.
        """
        report = ObjectReport(ref, outcome="parked", reason=reason)
        report.counts.read += 1
        self._park([DeadLetter(ref, "fetch", reason, message)], report)
        self._close(report)
        return report

    def supersede(self, ref: ObjectRef) -> None:
        """Note in the ledger that what replaced ``ref`` has been loaded: it waits for nobody any more.

        Raises:
            ClusterError: that could not be written.
        """
        self._close(ObjectReport(ref, outcome="superseded", reason="replaced"))

    def _close(self, report: ObjectReport) -> None:
        ref, now = report.ref, self._clock.now()
        in_key = delivery(ref.key)
        report.lag_from_event = seconds_between(report.last_event, now)
        delivered = ref.delivered or (in_key.text if in_key else None)
        report.lag_from_delivery = seconds_between(delivered, now)
        entry = _entry(report, rfc3339(now), delivered)
        self._ledger.write(ref, entry)
        log.info("object", extra={"uri": ref.uri, **entry})

    def _load_as(self, log_type: LogType, ref: ObjectRef, content: bytes | None, report: ObjectReport) -> None:
        chunks = self._fetch(ref) if content is None else iter([content])
        work = _Work(log_type, ObjectContext(ref.bucket, ref.key, rfc3339(self._clock.now())), report)
        members = not is_trail_delivery(ref)
        try:
            for piece in read_pieces(chunks, self._limits, members=members, stored=ref.size):
                report.counts.read += 1
                if isinstance(piece, Piece):
                    self._gather(work, piece)
                else:
                    self._letter(work, _broken(ref, piece))
                if report.counts.dead_lettered + len(work.letters) >= _LETTERS_AN_OBJECT:
                    self._letter(work, self._give_up(report))
                    break
        except TransientSourceError:
            raise
        except SourceError as error:
            # Only the fetch ends here; damage inside the object comes as pieces. Nothing was read of it.
            report.outcome, report.reason = "parked", error.kind
            report.counts.read += 1
            self._letter(work, DeadLetter(ref, "fetch", error.kind, str(error)))
        self._deal_with_pieces(work)
        self._send(work)
        self._park_letters(work)

    def _gather(self, work: _Work, piece: Piece) -> None:
        dropped_by = self._drop(piece.raw)
        if dropped_by is not None:
            work.report.counts.dropped += 1
            work.report.dropped_by[dropped_by] += 1
            return
        work.pieces.append(piece)
        work.pieces_size += len(piece.raw)
        if len(work.pieces) >= _TOGETHER or work.pieces_size >= _TOGETHER_BYTES:
            self._deal_with_pieces(work)

    def _deal_with_pieces(self, work: _Work) -> None:
        """Count what the cluster has already, and make documents of the rest."""
        pieces, report = work.pieces, work.report
        work.pieces, work.pieces_size = [], 0
        known = self._known.among(work.log_type, pieces, work.context)
        for position, piece in enumerate(pieces):
            place = known.get(position)
            if place is not None:
                report.counts.duplicates += 1
                report.see(place.timestamp)
            else:
                made = self._normalise(work, piece)
                if isinstance(made, DeadLetter):
                    self._letter(work, made)
                    continue
                work.items.append(made)
                work.items_size += len(made.body) + 400  # the action before it, and a hint
            # Of known records too: the sessions may be missing where the events are not.
            work.issued += edges_of(piece.raw)
            if work.items_size >= self._bulk_max_bytes or len(work.issued) >= _EDGES_WAITING:
                self._send(work)

    def _normalise(self, work: _Work, piece: Piece) -> Item | DeadLetter:
        """Return the piece's document, or its dead letter."""
        log_type, report = work.log_type, work.report
        try:
            rendered = log_type.normalise(piece.raw, work.context, False)
        except RecordError as error:
            return DeadLetter(
                report.ref, "normalise", error.kind, error.message, piece.raw, piece.number, event_id=piece.event_id
            )
        report.see(rendered.timestamp)
        index = log_type.index(rendered.day)
        return Item(piece.number, piece.raw, index, rendered.id, rendered.body, piece.event_id, rendered.identity)

    def _letter(self, work: _Work, letter: DeadLetter) -> None:
        work.letters.append(letter)
        work.letters_size += len(letter.raw) + 500
        if work.letters_size > _LETTERS_BYTES:
            self._park_letters(work)

    def _park_letters(self, work: _Work) -> None:
        self._park(work.letters, work.report)
        work.letters_size = 0

    def _give_up(self, report: ObjectReport) -> DeadLetter:
        report.outcome, report.reason = "parked", "too_many_bad_records"
        report.counts.read += 1
        message = f"more than {_LETTERS_AN_OBJECT} records of this object are unusable; the rest was not read"
        return DeadLetter(report.ref, "split", "too_many_bad_records", message)

    def _send(self, work: _Work) -> None:
        """Write the documents that wait, and the sessions that their records handed out."""
        items, issued = work.items, work.issued
        work.items, work.items_size, work.issued = [], 0, []
        self._hinter.mark(items, issued)
        if items:
            self._write(work.log_type, items, work.context, work.report)
        self._sessions.keep(work.ref, issued)

    def _write(self, log_type: LogType, items: list[Item], context: ObjectContext, report: ObjectReport) -> None:
        rejected = self._write_once(items, report)
        if not rejected:
            return
        again, letters = self._render_again(log_type, [item for item, _ in rejected], context, report)
        still = self._write_once(again, report) if again else []
        for item, letter in still:
            letters.append(letter)
            log.warning("record refused", extra={"place": f"{report.ref.uri}#{item.number}", "reason": letter.reason})
        report.refused.update(letter.reason for letter in letters if letter.stage == "index")
        _hold_if_suspicious(report)
        self._park(letters, report)

    def _write_once(self, items: list[Item], report: ObjectReport) -> list[tuple[Item, DeadLetter]]:
        rejected = []
        for item, verdict in zip(items, self._writer.write(items), strict=True):
            if verdict.outcome is Outcome.INDEXED:
                report.counts.indexed += 1
            elif verdict.outcome is Outcome.DUPLICATE:
                report.counts.duplicates += 1
            else:
                letter = DeadLetter(
                    report.ref,
                    "index",
                    verdict.kind,
                    verdict.reason,
                    item.raw,
                    item.number,
                    item.index,
                    item.event_id,
                )
                rejected.append((item, letter))
        return rejected

    def _render_again(
        self, log_type: LogType, items: list[Item], context: ObjectContext, report: ObjectReport
    ) -> tuple[list[Item], list[DeadLetter]]:
        """Render refused records once more with the complete renderer, which takes nothing for granted."""
        again: list[Item] = []
        letters: list[DeadLetter] = []
        for item in items:
            try:
                rendered = log_type.normalise(item.raw, context, True)
            except RecordError as error:
                letters.append(
                    DeadLetter(
                        report.ref,
                        "normalise",
                        error.kind,
                        error.message,
                        item.raw,
                        item.number,
                        event_id=item.event_id,
                    )
                )
            else:
                index = log_type.index(rendered.day)
                again.append(
                    Item(item.number, item.raw, index, rendered.id, rendered.body, item.event_id, rendered.identity)
                )
        self._hinter.mark(again, ())
        return again, letters

    def _park(self, letters: list[DeadLetter], report: ObjectReport) -> None:
        if not letters:
            return
        self._dead_letters.write(letters)
        report.counts.dead_lettered += len(letters)
        report.reasons.update(letter.reason for letter in letters)
        letters.clear()


def _broken(ref: ObjectRef, piece: Broken) -> DeadLetter:
    return DeadLetter(ref, "split", piece.kind, piece.message, piece.raw, piece.number, event_id=piece.event_id)


def _entry(report: ObjectReport, now: str, delivered: str | None) -> dict[str, object]:
    """Return the ledger's entry, as ``mappings/index/siem-objects.json`` has it."""
    ref, counts = report.ref, report.counts
    entry: dict[str, object] = {
        "@timestamp": now,
        "bucket": ref.bucket,
        "key": ref.key,
        "version_id": ref.version_id,
        "etag": ref.etag,
        "size": ref.size,
        "log_type": report.log_type,
        "outcome": report.outcome,
        "reason": report.reason,
        "read": counts.read,
        "indexed": counts.indexed,
        "duplicates": counts.duplicates,
        "dead_lettered": counts.dead_lettered,
        "dropped": counts.dropped,
        "dropped_by": dict(report.dropped_by) or None,
        "balanced": counts.balanced,
        "first_event": report.first_event,
        "last_event": report.last_event,
        "delivered": delivered,
        "lag_from_event_s": report.lag_from_event,
        "lag_from_delivery_s": report.lag_from_delivery,
        "seconds": round(report.seconds, 3),
    }
    return {name: value for name, value in entry.items() if value is not None}


def _hold_if_suspicious(report: ObjectReport) -> None:
    for reason, count in report.refused.items():
        if count > _SUSPICIOUS_COUNT and count > report.counts.read * _SUSPICIOUS_SHARE:
            raise SuspiciousRejectionsError(
                f"{count} of {report.counts.read} records were refused with {reason}",
                where=report.ref.uri,
                hint="Compare the templates in the cluster with mappings/ (siem mappings plan), then let it retry.",
            )
