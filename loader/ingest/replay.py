"""Dead letters back through the loader, after a fix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from opensearchpy import OpenSearch

from loader.clock import Clock, rfc3339
from loader.errors import RecordError, SiemError
from loader.index.bulk import BulkWriter, Item
from loader.index.outcomes import Outcome
from loader.index.parked import ParkedLetter, mark_replayed
from loader.ingest.messages import MessageHandler
from loader.ingest.objects import ObjectLoader
from loader.ingest.route import route
from loader.logtypes.model import LogType, ObjectContext
from loader.source.objects import Limits, Piece
from loader.source.split import read_pieces


@dataclass(slots=True)
class ReplayResult:
    """``done`` counts letters dealt with by what became of them, ``left`` those that stay, by reason."""

    done: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


class Replayer:
    """Tries each letter again by the stage it failed in: a record, a whole object, or a message."""

    def __init__(
        self, client: OpenSearch, loader: ObjectLoader, writer: BulkWriter, handler: MessageHandler, *, clock: Clock
    ) -> None:
        self._client = client
        self._loader = loader
        self._writer = writer
        self._handler = handler
        self._clock = clock

    def replay(self, letters: Iterable[ParkedLetter], on_letter: Callable[[], None] = lambda: None) -> ReplayResult:
        """Replay ``letters`` one by one. A letter that fails again stays as it is.

        Raises:
            ClusterError: the cluster is not there; what was done before is marked.
        """
        result = ReplayResult()
        for parked in letters:
            became, reason = self._one(parked)
            if became is None:
                result.left[reason] += 1
            else:
                result.done[became] += 1
                mark_replayed(self._client, parked, rfc3339(self._clock.now()))
            on_letter()
        return result

    def _one(self, parked: ParkedLetter) -> tuple[str | None, str]:
        """Return what became of a letter, or ``None`` and the reason it stays."""
        letter = parked.letter
        if letter.stage == "message":
            handled = self._handler.handle(letter.ref.key, letter.raw.decode("utf-8", "replace"))
            # A message that is still no notification is parked again, under the same id: the letter stays.
            still = self._handler.totals.parked["not_a_notification"] > 0
            self._handler.totals.parked.clear()
            return ("message", "") if handled and not still else (None, letter.reason)
        if letter.record_number == 0:
            return self._object(parked)
        log_type = route(letter.ref)
        if isinstance(log_type, str):
            return None, log_type
        return self._records(parked, log_type)

    def _object(self, parked: ParkedLetter) -> tuple[str | None, str]:
        letter = parked.letter
        if not letter.ref.can_be_read_again:
            return None, letter.reason
        try:
            report = self._loader.load(letter.ref)
            if report.reason == "replaced":
                # What was announced is gone for good. What is there now counts as duplicates if its own notification
                # came; if it never came, this is how it is loaded.
                report = self._loader.load(replace(letter.ref, etag=None))
            if report.outcome == "loaded" and letter.reason == "replaced":
                self._loader.supersede(letter.ref)
        except SiemError:
            return None, letter.reason
        return ("object", "") if report.outcome == "loaded" else (None, report.reason or letter.reason)

    def _records(self, parked: ParkedLetter, log_type: LogType) -> tuple[str | None, str]:
        """Try a record again, or a stretch that held no record: what the splitter finds in it now is loaded."""
        letter = parked.letter
        records = [letter.raw]
        if letter.stage == "split":
            if letter.reason in _NOT_COVERED:
                return None, letter.reason
            pieces = list(read_pieces([letter.raw], Limits()))
            records = [piece.raw for piece in pieces if isinstance(piece, Piece)]
            if not records or len(records) < len(pieces):
                return None, letter.reason
        context = ObjectContext(letter.ref.bucket, letter.ref.key, rfc3339(self._clock.now()))
        try:
            made = [log_type.normalise(record, context, True) for record in records]
        except RecordError:
            return None, letter.reason
        items = [
            Item(letter.record_number, record, log_type.index(one.day), one.id, one.body)
            for record, one in zip(records, made, strict=True)
        ]
        outcomes = {verdict.outcome for verdict in self._writer.write(items)}
        if Outcome.REJECTED in outcomes:
            return None, letter.reason
        return (Outcome.INDEXED if Outcome.INDEXED in outcomes else Outcome.DUPLICATE).value, ""


#: Content that no digest's hash covers: to load it would be to take what anybody put behind CloudTrail's own.
_NOT_COVERED: Final = frozenset({"trailing_data"})
