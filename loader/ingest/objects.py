"""Load objects: read, normalise, index, park what cannot be, and balance each account."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from loader.clock import Clock, rfc3339
from loader.errors import SiemError, SourceError
from loader.index.bulk import BulkWriter
from loader.index.deadline import within
from loader.index.ledger import Ledger
from loader.index.parked import DeadLetter, DeadLetterOffice
from loader.ingest.allowance import ENDLESS, Allowance
from loader.ingest.filters import Drop, keep_all
from loader.ingest.hinting import Hinter
from loader.ingest.known import KnownRecords
from loader.ingest.lag import seconds_between
from loader.ingest.report import ObjectReport, entry_of
from loader.ingest.route import is_trail_delivery, route
from loader.ingest.sessions import SessionKeeper
from loader.ingest.shipment import Shipment
from loader.ingest.work import Work
from loader.logtypes.model import ObjectContext
from loader.logtypes.times import delivery
from loader.source.ahead import FetchAhead
from loader.source.fetch import Fetch, TransientSourceError
from loader.source.objects import Limits, ObjectRef, Piece
from loader.source.split import read_pieces

log = logging.getLogger(__name__)

#: Objects that share requests, at most: none of them is acknowledged before all are read.
_GROUP: Final = 64


@dataclass(frozen=True, slots=True)
class Arrival:
    """An object to be loaded. ``content`` is the object as stored, where it came with what announced it."""

    ref: ObjectRef
    content: bytes | None = None


#: What became of an object: its account, why it has to come again, or ``None`` if it was not begun.
Outcome = ObjectReport | Exception | None


class ObjectLoader:
    """Loads objects. Safe to share between threads: all it keeps between calls are hints."""

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
        self._ahead = FetchAhead(fetch)
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

        Raises:
            TransientSourceError: S3 did not deliver; try again.
            HoldError, ClusterError: the cluster did not take what it should; try again.
            SuspiciousRejectionsError: more than 5% was refused for one reason.
            AccountingError: the equation does not hold.
        """
        (outcome,) = self.load_together([Arrival(ref, content)])
        assert outcome is not None  # noqa: S101  # it was not told to stop
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def load_together(self, arrivals: Iterable[Arrival], allowance: Allowance = ENDLESS) -> list[Outcome]:
        """Load objects one after the other; small ones share requests. Return what became of each, in their order.

        Never raises because of an object: whatever stops one of them stops no other. What several were stopped by
        together is tried again with each of them alone. When the allowance is used up, what is in work fails as
        :class:`OutOfTimeError` or as whatever request was cut off.
        """
        outcomes: list[Outcome] = []
        coming = iter(arrivals)
        with within(allowance.left):
            while group := list(islice(coming, _GROUP)):
                outcomes += self._load_group(group, allowance.may_begin)
        return outcomes

    def load_again(self, ref: ObjectRef, pieces: Iterable[Piece]) -> ObjectReport | DeadLetter:
        """Load records of ``ref`` that are dead letters: whole, or return what is wrong with the first that is.

        They take the way of all records, sessions and filters included; the ledger has them already.

        Raises:
            HoldError, ClusterError: as :meth:`load`.
        """
        work, shipment = self._begin(ref), self._shipment(dead_letters=None)
        if work.log_type is None:
            return DeadLetter(ref, "route", work.report.reason or "skipped", "nothing of such objects is loaded")
        shipment.take(work, pieces)
        shipment.flush()
        if work.error is not None:
            raise work.error
        return work.letters[0] if work.letters else work.report

    def park(self, ref: ObjectRef, reason: str, message: str) -> ObjectReport:
        """Park ``ref`` as a whole under ``reason``: it can be tried again with a replay.

        Raises:
            ClusterError: that could not be written; the object must not be acknowledged.
        """
        report = ObjectReport(ref, outcome="parked", reason=reason)
        work, shipment = self._work(report), self._shipment(self._dead_letters)
        shipment.park(work, DeadLetter(ref, "fetch", reason, message))
        shipment.flush()
        return self._close_one(work)

    def supersede(self, ref: ObjectRef) -> None:
        """Note in the ledger that what replaced ``ref`` has been loaded: it waits for nobody any more.

        Raises:
            ClusterError: that could not be written.
        """
        self._close_one(self._work(ObjectReport(ref, outcome="superseded", reason="replaced")))

    def _load_group(self, group: Sequence[Arrival], may_begin: Callable[[], bool]) -> list[Outcome]:
        shipment = self._shipment(self._dead_letters)
        works: list[Work | None] = []
        with self._ahead.started([arrival.ref for arrival in group if arrival.content is None]) as fetch:
            for arrival in group:
                if not may_begin():
                    works.append(None)
                    continue
                work = self._begin(arrival.ref)
                works.append(work)
                if shipment.unavailable is not None:
                    work.fail(shipment.unavailable)
                elif work.log_type is not None:
                    self._read(work, arrival, fetch, shipment)
        shipment.flush()
        self._close([work for work in works if work is not None])
        outcomes: list[Outcome] = []
        for arrival, begun in zip(group, works, strict=True):
            if begun is None:
                outcomes.append(None)
            elif begun.error is None:
                outcomes.append(begun.report)
            elif begun.together and len(group) > 1 and shipment.unavailable is None and may_begin():
                # It may have been another one's fault: those whose own fault it is not are loaded now.
                outcomes += self._load_group([arrival], may_begin)
            else:
                outcomes.append(begun.error)
        return outcomes

    def _shipment(self, dead_letters: DeadLetterOffice | None) -> Shipment:
        return Shipment(
            writer=self._writer,
            known=self._known,
            sessions=self._sessions,
            dead_letters=dead_letters,
            hinter=self._hinter,
            drop=self._drop,
            bulk_max_bytes=self._bulk_max_bytes,
        )

    def _work(self, report: ObjectReport) -> Work:
        ref = report.ref
        context = ObjectContext(ref.bucket, ref.key, rfc3339(self._clock.now()))
        return Work(report, context, self._clock.monotonic())

    def _begin(self, ref: ObjectRef) -> Work:
        work = self._work(ObjectReport(ref))
        target = route(ref)
        if isinstance(target, str):
            work.report.outcome, work.report.reason = "skipped", target
        else:
            work.log_type, work.report.log_type = target, target.name
        return work

    def _read(self, work: Work, arrival: Arrival, fetch: Fetch, shipment: Shipment) -> None:
        ref, report = work.ref, work.report
        try:
            chunks = fetch(ref) if arrival.content is None else iter([arrival.content])
            members = not is_trail_delivery(ref)
            shipment.take(work, read_pieces(chunks, self._limits, members=members, stored=ref.size))
        except TransientSourceError as error:
            work.fail(error)
        except SourceError as error:
            # Only the fetch ends here; damage inside the object comes as pieces. Nothing was read of it.
            report.outcome, report.reason = "parked", error.kind
            shipment.park(work, DeadLetter(ref, "fetch", error.kind, str(error)))
        except Exception as error:  # a defect of ours must not stop other objects
            work.fail(error)

    def _close_one(self, work: Work) -> ObjectReport:
        self._close([work])
        if work.error is not None:
            raise work.error
        return work.report

    def _close(self, works: Sequence[Work]) -> None:
        """Hold the equation of each object that has not failed, and write them into the ledger."""
        entries: list[tuple[Work, dict[str, object]]] = []
        moment = self._clock.now()
        for work in works:
            if work.error is not None:
                continue
            try:
                entries.append((work, self._entry(work, moment)))
            except SiemError as error:
                work.fail(error)
        if not entries:
            return
        try:
            self._ledger.write([(work.ref, entry) for work, entry in entries])
        except Exception as error:  # without its entry no object is acknowledged
            for work, _ in entries:
                work.fail(error, together=True)
            return
        for work, entry in entries:
            log.info("object", extra={"uri": work.ref.uri, **entry})

    def _entry(self, work: Work, moment: datetime) -> dict[str, object]:
        ref, report = work.ref, work.report
        report.check()
        report.seconds = self._clock.monotonic() - work.started
        in_key = delivery(ref.key)
        delivered = ref.delivered or (in_key.text if in_key else None)
        report.lag_from_event = seconds_between(report.last_event, moment)
        report.lag_from_delivery = seconds_between(delivered, moment)
        return entry_of(report, rfc3339(moment), delivered)
