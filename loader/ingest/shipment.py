"""Records of several objects on their way into the cluster, in as few requests as they fit into.

Most objects of most trails are small. One request for each costs both sides more than the records in it; here they
share requests, and each keeps its own account.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from loader.errors import RecordError
from loader.identity.extract import edges
from loader.identity.model import Edge
from loader.index.bulk import DUPLICATE, INDEXED, BulkWriter, Item, UnavailableError, Verdict
from loader.index.deadline import seconds_left
from loader.index.outcomes import Outcome
from loader.index.parked import DeadLetter, DeadLetterOffice
from loader.ingest.filters import Drop, keep_all
from loader.ingest.hinting import Hinter
from loader.ingest.known import KnownRecords
from loader.ingest.sessions import SessionKeeper
from loader.ingest.work import OutOfTimeError, Work
from loader.logtypes.model import LogType, Rendered, Whereabouts
from loader.logtypes.times import MISDATED
from loader.source.objects import UNREAD, Broken, Piece

log = logging.getLogger(__name__)

#: Records that are looked at together, before anything is made of them: so many, or so many bytes.
_TOGETHER: Final = 4096
_TOGETHER_BYTES: Final = 2**20
#: Bytes of a document's action line, and of a hint.
_AROUND: Final = 400
#: Sessions that were handed out are written at the latest when so many wait.
_EDGES_WAITING: Final = 1024
#: Dead letters are written once this many bytes of raw records wait.
_LETTERS_BYTES: Final = 8 * 2**20
#: An object with more bad records than this is no log file: reading stops, and the object itself is parked.
_LETTERS_AN_OBJECT: Final = 10_000


class Shipment:
    """Takes the records of one object after the other. For one thread, and for one group of objects.

    Without ``dead_letters``, letters stay with their objects: they are there already.
    """

    def __init__(
        self,
        *,
        writer: BulkWriter,
        known: KnownRecords,
        sessions: SessionKeeper,
        dead_letters: DeadLetterOffice | None,
        hinter: Hinter,
        drop: Drop,
        bulk_max_bytes: int,
    ) -> None:
        self._writer = writer
        self._known = known
        self._sessions = sessions
        self._dead_letters = dead_letters
        self._hinter = hinter
        self._drop = drop
        self._bulk_max_bytes = bulk_max_bytes
        #: Records as read, in the order of their objects, and their bytes.
        self._runs: list[tuple[Work, list[Piece]]] = []
        self._waiting = 0
        #: Documents to be written, how many in a row are whose, and their bytes.
        self._items: list[Item] = []
        self._owners: list[tuple[Work, int]] = []
        self._size = 0
        self._issued: list[tuple[Work, Edge]] = []
        self._lettered: dict[Work, None] = {}
        self._letters_size = 0
        #: Set when the cluster cannot be reached: nothing else needs to be tried.
        self.unavailable: UnavailableError | None = None

    def take(self, work: Work, found: Iterable[Piece | Broken]) -> None:
        """Take what is found in one object, up to its end, or until it has failed or is no log file.

        Raises what ``found`` raises.
        """
        drop = None if self._drop is keep_all else self._drop
        pieces: list[Piece] = []
        self._runs.append((work, pieces))
        waiting = self._waiting
        try:
            for piece in found:
                if isinstance(piece, Broken):
                    work.report.counts.read += 1
                    if piece.kind in UNREAD:
                        work.report.outcome, work.report.reason = "parked", piece.kind
                    self._letter(work, _broken(work, piece))
                elif drop is not None and (dropped_by := drop(piece.raw)) is not None:
                    work.report.drop(dropped_by)
                else:
                    pieces.append(piece)
                    waiting += len(piece.raw)
                    if waiting >= _TOGETHER_BYTES or len(pieces) >= _TOGETHER:
                        self._deal()
                        waiting, pieces = 0, []
                        self._runs.append((work, pieces))
                        if seconds_left() <= 0:
                            work.fail(OutOfTimeError("no time is left for the rest of it", where=work.ref.uri))
                if work.bad >= _LETTERS_AN_OBJECT:
                    self._letter(work, _give_up(work))
                    return
                if work.error is not None:
                    return
        finally:
            self._waiting = waiting

    def park(self, work: Work, letter: DeadLetter) -> None:
        """Take a dead letter that stands for the whole object."""
        work.report.counts.read += 1
        self._letter(work, letter)

    def flush(self) -> None:
        """Deal with all that waits, and write it. After that, what has not failed is safe."""
        self._deal()
        self._send()
        self._park_letters()

    def _deal(self) -> None:
        """Count what the cluster has already, and make documents of the rest."""
        runs, self._runs, self._waiting = self._runs, [], 0
        for (work, pieces), there in zip(runs, self._known.among(runs), strict=True):
            if work.error is None and work.log_type is not None and pieces:
                try:
                    self._render(work, work.log_type, pieces, there)
                except Exception as error:  # a defect of ours, of this object only
                    work.fail(error)

    def _render(self, work: Work, log_type: LogType, pieces: list[Piece], there: dict[int, Whereabouts]) -> None:
        report, context, normalise = work.report, work.context, log_type.normalise
        counts, names = report.counts, {"": ""}
        counts.read += len(pieces)
        items, first, times = self._items, len(self._items), []
        for position, piece in enumerate(pieces):
            raw = piece.raw
            made: Whereabouts | Rendered | None = there.get(position) if there else None
            if made is not None:
                counts.duplicates += 1
            else:
                try:
                    made = normalise(raw, context, False)
                except RecordError as error:
                    self._letter(work, _unreadable(work, error, piece.number, raw, piece.event_id))
                    continue
                index = names.get(made.day)
                if index is None:
                    index = names[made.day] = log_type.index(made.day)
                items.append(Item(piece.number, raw, index, made.id, made.body, piece.event_id, made.who))
                self._size += len(made.body) + _AROUND
            believed = made.day != MISDATED
            if believed:
                times.append(made.timestamp)
            if made.issuing:
                # Of known records too: the sessions may be missing where the events are not.
                self._issued += [(work, edge if believed else replace(edge, misdated=True)) for edge in edges(raw)]
            if self._size >= self._bulk_max_bytes or len(self._issued) >= _EDGES_WAITING:
                self._owners.append((work, len(items) - first))
                self._send()
                items, first = self._items, 0
        self._owners.append((work, len(items) - first))
        if times:
            report.see(min(times))
            report.see(max(times))

    def _send(self) -> None:
        """Write the documents that wait, and the sessions that their records handed out."""
        items, owners, issued = self._items, self._owners, self._issued
        self._items, self._owners, self._size, self._issued = [], [], 0, []
        try:
            self._hinter.mark(items, [edge for _, edge in issued])
            if items:
                self._write(items, owners)
            self._sessions.keep([(work.ref, edge) for work, edge in issued])
        except Exception as error:  # whatever it is, all of these objects have to come again
            for work in dict.fromkeys([work for work, _ in (*owners, *issued)]):
                work.fail(error, together=True)
            if isinstance(error, UnavailableError):
                self.unavailable = error

    def _write(self, items: list[Item], owners: Sequence[tuple[Work, int]]) -> None:
        rejected = self._write_once(items, owners)
        if not rejected:
            return
        letters: dict[Work, list[DeadLetter]] = {work: [] for work, _, _ in rejected}
        again = self._render_again(rejected, letters)
        if again:
            self._hinter.mark([item for _, item in again], ())
            still = self._write_once([item for _, item in again], [(work, 1) for work, _ in again])
            for work, item, verdict in still:
                letters[work].append(_refused(work, item, verdict))
                place = f"{work.ref.uri}#{item.number}"
                log.warning("record refused", extra={"place": place, "reason": verdict.kind})
        for work, found in letters.items():
            if work.error is None:
                work.refuse(found)
                self._weigh(work, found)

    def _write_once(self, items: list[Item], owners: Sequence[tuple[Work, int]]) -> list[tuple[Work, Item, Verdict]]:
        """Write ``items`` and count what became of them. Return those that were rejected."""
        verdicts = iter(zip(items, self._writer.write_each(items), strict=True))
        rejected = []
        for work, count in owners:
            indexed = duplicates = 0
            for _ in range(count):
                item, verdict = next(verdicts)
                if verdict is INDEXED:
                    indexed += 1
                elif verdict is DUPLICATE:
                    duplicates += 1
                elif verdict.outcome is Outcome.REJECTED:
                    rejected.append((work, item, verdict))
                elif verdict.error is not None:
                    work.fail(verdict.error)
            work.report.counts.indexed += indexed
            work.report.counts.duplicates += duplicates
        return rejected

    def _render_again(
        self, rejected: list[tuple[Work, Item, Verdict]], letters: dict[Work, list[DeadLetter]]
    ) -> list[tuple[Work, Item]]:
        """Render refused records once more with the complete renderer, which takes nothing for granted."""
        again: list[tuple[Work, Item]] = []
        for work, item, _ in rejected:
            if work.log_type is None:
                continue
            try:
                made = work.log_type.normalise(item.raw, work.context, True)
            except RecordError as error:
                letters[work].append(_unreadable(work, error, item.number, item.raw, item.event_id))
            else:
                index = work.log_type.index(made.day)
                again.append(
                    (work, Item(item.number, item.raw, index, made.id, made.body, item.event_id, made.who)),
                )
        return again

    def _letter(self, work: Work, letter: DeadLetter) -> None:
        work.letter(letter)
        self._weigh(work, [letter])

    def _weigh(self, work: Work, letters: list[DeadLetter]) -> None:
        """Write the letters that wait, if there are enough of them."""
        self._lettered[work] = None
        self._letters_size += sum([len(letter.raw) + 500 for letter in letters])
        if self._letters_size > _LETTERS_BYTES:
            self._park_letters()

    def _park_letters(self) -> None:
        works = [work for work in self._lettered if work.error is None and work.letters]
        self._lettered, self._letters_size = {}, 0
        if not works or self._dead_letters is None:
            return
        try:
            self._dead_letters.write([letter for work in works for letter in work.letters])
        except Exception as error:  # what cannot be parked must come again
            for work in works:
                work.fail(error, together=True)
            return
        for work in works:
            work.report.counts.dead_lettered += len(work.letters)
            work.report.reasons.update(letter.reason for letter in work.letters)
            work.letters.clear()


def _broken(work: Work, piece: Broken) -> DeadLetter:
    return DeadLetter(
        work.ref, "split", piece.kind, piece.message, piece.raw, piece.number, event_id=piece.event_id, cut=piece.cut
    )


def _unreadable(work: Work, error: RecordError, number: int, raw: bytes, event_id: str | None) -> DeadLetter:
    return DeadLetter(work.ref, "normalise", error.kind, error.message, raw, number, event_id=event_id)


def _refused(work: Work, item: Item, verdict: Verdict) -> DeadLetter:
    return DeadLetter(work.ref, "index", verdict.kind, verdict.reason, item.raw, item.number, item.index, item.event_id)


def _give_up(work: Work) -> DeadLetter:
    report = work.report
    report.outcome, report.reason = "parked", "too_many_bad_records"
    report.counts.read += 1
    message = f"more than {_LETTERS_AN_OBJECT} records of this object are unusable; the rest was not read"
    return DeadLetter(work.ref, "split", "too_many_bad_records", message)
