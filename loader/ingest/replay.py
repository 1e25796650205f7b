"""Dead letters back through the loader, after a fix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from opensearchpy import OpenSearch

from loader.clock import Clock, rfc3339
from loader.errors import SiemError
from loader.index.bulk import UnavailableError
from loader.index.parked import DeadLetter, ParkedLetter, mark_replayed
from loader.ingest.messages import MessageHandler
from loader.ingest.notification import parse_notification
from loader.ingest.objects import ObjectLoader
from loader.source.objects import Limits, Piece
from loader.source.split import read_pieces

#: What became of a letter; ``None`` and the reason it stays.
_Became = tuple[str | None, str]


@dataclass(slots=True)
class ReplayResult:
    """``done`` counts letters dealt with by what became of them, ``left`` those that stay, by reason."""

    done: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


class Replayer:
    """Tries each letter again by the stage it failed in: a record, a whole object, or a message."""

    def __init__(self, client: OpenSearch, loader: ObjectLoader, handler: MessageHandler, *, clock: Clock) -> None:
        self._client = client
        self._loader = loader
        self._handler = handler
        self._clock = clock

    def replay(self, letters: Iterable[ParkedLetter], on_letter: Callable[[], None] = lambda: None) -> ReplayResult:
        """Replay ``letters`` one by one. A letter that fails again stays as it is.

        Raises:
            ClusterError: the cluster is not there; what was done before is marked.
        """
        result = ReplayResult()
        for parked in letters:
            became, reason = self._one(parked.letter)
            if became is None:
                result.left[reason] += 1
            else:
                result.done[became] += 1
                mark_replayed(self._client, parked, rfc3339(self._clock.now()))
            on_letter()
        return result

    def _one(self, letter: DeadLetter) -> _Became:
        try:
            if letter.stage == "message":
                return self._message(letter)
            if letter.reason in _NOT_COVERED:
                return None, letter.reason
            if letter.record_number == 0 or letter.cut:
                return self._object(letter)
            return self._records(letter)
        except UnavailableError:
            raise
        except SiemError:
            return None, letter.reason
        except Exception:  # a defect that one letter shows is no reason to leave the others
            return None, "defect"

    def _message(self, letter: DeadLetter) -> _Became:
        body = letter.raw.decode("utf-8", "replace")
        if parse_notification(body).trouble is not None:
            return None, letter.reason
        return ("message", "") if self._handler.handle(letter.ref.key, body) else (None, letter.reason)

    def _object(self, letter: DeadLetter) -> _Became:
        if not letter.ref.can_be_read_again:
            return None, letter.reason
        report = self._loader.load(letter.ref)
        if report.reason == "replaced":
            # What was announced is gone for good. What is there now counts as duplicates if its own notification came;
            # if it never came, this is how it is loaded.
            report = self._loader.load(replace(letter.ref, etag=None))
        if report.outcome == "loaded" and letter.reason == "replaced":
            self._loader.supersede(letter.ref)
        if report.outcome != "loaded":
            return None, report.reason or letter.reason
        # Of an object that was read again for a part of it, that part may be as it was.
        still = letter.record_number and letter.reason in report.reasons
        return (None, letter.reason) if still else ("object", "")

    def _records(self, letter: DeadLetter) -> _Became:
        """Try a record again, or a stretch that held no record: what the splitter finds in it now is loaded."""
        records = [letter.raw]
        if letter.stage == "split":
            pieces = list(read_pieces([letter.raw], Limits()))
            records = [piece.raw for piece in pieces if isinstance(piece, Piece)]
            if not records or len(records) < len(pieces):
                return None, letter.reason
        number, event_id = letter.record_number, letter.event_id
        became = self._loader.load_again(letter.ref, [Piece(number, record, event_id) for record in records])
        if isinstance(became, DeadLetter):
            return None, became.reason
        counts = became.counts
        return ("indexed" if counts.indexed else "duplicate" if counts.duplicates else "dropped"), ""


#: Content that no digest's hash covers: to load it would be to take what anybody put behind CloudTrail's own.
_NOT_COVERED: Final = frozenset({"trailing_data"})
