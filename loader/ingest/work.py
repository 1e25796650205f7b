"""One object's load, as far as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from loader.errors import SiemError
from loader.index.parked import DeadLetter
from loader.ingest.report import ObjectReport
from loader.logtypes.model import LogType, ObjectContext
from loader.source.objects import ObjectRef

#: More rejections of one type than this share of what was read so far is our mistake, not the data's …
_SUSPICIOUS_SHARE: Final = 0.05
#: … once there are enough of them to tell.
_SUSPICIOUS_COUNT: Final = 20


class SuspiciousRejectionsError(SiemError):
    """Too many documents of one object are refused for the same reason: nothing more is parked, the message waits."""


class OutOfTimeError(SiemError):
    """There was no time left for the rest of an object. What was written stays, and counts as duplicates next time."""


@dataclass(slots=True, eq=False)
class Work:
    """An object in work. ``log_type`` is ``None`` if nothing is read of it."""

    report: ObjectReport
    context: ObjectContext
    started: float
    log_type: LogType | None = None
    #: Dead letters that wait to be written, and how many there were in all.
    letters: list[DeadLetter] = field(default_factory=list)
    bad: int = 0
    #: Whether its first records were not in the cluster: then the others need not be asked for.
    is_new: bool = False
    #: Why it has to come again. Nothing of it is counted or parked any more.
    error: Exception | None = None
    #: Whether what failed was done for several objects at once, and so may be another one's fault.
    together: bool = False

    @property
    def ref(self) -> ObjectRef:
        """Return the object's name."""
        return self.report.ref

    def fail(self, error: Exception, *, together: bool = False) -> None:
        """Note why this object has to come again: the first reason stays."""
        if self.error is None:
            self.error, self.together = error, together

    def letter(self, letter: DeadLetter) -> None:
        """Take a dead letter, to be written with others."""
        self.letters.append(letter)
        self.bad += 1

    def refuse(self, letters: list[DeadLetter]) -> None:
        """Take the letters of what the cluster refused for good: all of them, or the object fails as suspicious."""
        report = self.report
        report.refused.update(letter.reason for letter in letters if letter.stage == "index")
        for reason, count in report.refused.items():
            if count > _SUSPICIOUS_COUNT and count > report.counts.read * _SUSPICIOUS_SHARE:
                error = SuspiciousRejectionsError(
                    f"{count} of {report.counts.read} records were refused with {reason}",
                    where=report.ref.uri,
                    hint="Compare the templates in the cluster with mappings/ (siem mappings plan), then let it retry.",
                )
                self.fail(error)
                return
        for letter in letters:
            self.letter(letter)
