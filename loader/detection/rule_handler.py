"""What a cycle asks of each rule: its questions about a slice, and to settle what it learned. One class a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from loader.detection.evaluate import verified
from loader.detection.model import CompiledRule
from loader.detection.plan import Slice, Subject
from loader.detection.report import RuleCount
from loader.detection.search import Question

Accept = Callable[[Mapping[str, Any]], bool]


class RuleHandler(Protocol):
    """One rule or correlation during a cycle."""

    @property
    def subject(self) -> Subject:
        """Return what the ledger knows it by."""

    @property
    def count(self) -> RuleCount:
        """Return its figures."""

    @property
    def deferred(self) -> bool:
        """Return whether slices are done only once :meth:`settle` has succeeded."""

    @property
    def last(self) -> bool:
        """Return whether it can settle only when all that the cycle examines has been asked about."""

    def begin(self, *, fresh: bool) -> None:
        """Take note, before anything is asked, whether it has never examined anything."""

    def questions(self, piece: Slice) -> Sequence[Question]:
        """Return what has to be asked about a slice."""

    def settle(self) -> None:
        """Write what was learned since the last call.

        Raises:
            SiemError: it cannot be written; the slices asked about since the last call are not done.
        """


def acceptor(rule: CompiledRule) -> Accept | None:
    """Return the exact condition of a rule whose query finds more than it should."""
    if rule.verify is None:
        return None
    return lambda source: verified(rule, source)
