"""The one writer of event documents: ``_bulk`` with ``create``, retried per item, bisected when refused as a whole."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Struct
from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError as ClusterConnectionError
from opensearchpy.exceptions import ConnectionTimeout, TransportError

from loader.clock import Clock
from loader.errors import ClusterError
from loader.index.client import UnreadableAnswerError
from loader.index.deadline import seconds_left
from loader.index.gate import IndexGate, TooManyIndicesError
from loader.index.outcomes import Outcome, all_created, classify, error_of, items_of, of_error
from loader.logtypes.model import Who

log = logging.getLogger(__name__)

_PARAMS = {"filter_path": "errors,items.*.status,items.*.error"}
_HEADERS = {"content-type": "application/x-ndjson"}
_LOSSES_TO_BLAME = 3


class HoldError(ClusterError):
    """A refusal that only a person or time can cure: what is being loaded goes back to where it came from."""

    def __init__(self, kind: str, reason: str, *, where: str | None = None) -> None:
        super().__init__(f"{kind}: {reason}" if reason else kind, where=where)
        self.kind = kind


class UnavailableError(HoldError):
    """The cluster stayed busy or out of reach for longer than this process waits."""


class Item(Struct, gc=False):
    """A document on its way. ``number`` is the record's place in its object, from 1; ``raw`` the record as read."""

    number: int
    raw: bytes
    index: str
    id: str
    body: bytes
    #: CloudWatch Logs' id of the event, where the record came through it.
    event_id: str | None = None
    #: Whoever acted, as in :class:`loader.logtypes.model.Rendered`.
    who: Who | None = None
    #: How often the connection was lost while this item was sent alone.
    losses: int = 0


def bulk_path(index: str) -> str:
    """Return the path of a ``_bulk`` request whose documents go to ``index`` unless they say otherwise."""
    return f"/{index}/_bulk"


def bulk_body(items: Iterable[Item], index: str) -> bytes:
    """Return the body of a ``_bulk`` request to ``bulk_path(index)``. Index names and ids are ours: no escapes.

    Nearly all documents of an object have one day, so that the path says it for all. Documents are copied once: joining
    a line made of each takes seven times as long.
    """
    lines: list[bytes] = []
    for item in items:
        if item.index == index:
            lines += (b'{"create":{"_id":"%b"}}' % item.id.encode(), item.body)
        else:
            lines += (b'{"create":{"_index":"%b","_id":"%b"}}' % (item.index.encode(), item.id.encode()), item.body)
    lines.append(b"")
    return b"\n".join(lines)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one item: indexed, a duplicate, rejected (with the error's type and reason), or held.

    Of what is held, ``error`` says why: only a person or time can cure it.
    """

    outcome: Outcome
    kind: str = ""
    reason: str = ""
    error: ClusterError | None = None


#: What nearly every item gets: these very objects, so that they can be told by identity.
INDEXED: Final = Verdict(Outcome.INDEXED)
DUPLICATE: Final = Verdict(Outcome.DUPLICATE)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Capped exponential back-off with full jitter; seconds."""

    base: float = 0.25
    cap: float = 20.0
    attempts: int = 8

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Return how long to wait before attempt number ``attempt`` + 1 (from 0)."""
        return rng.uniform(0, min(self.cap, self.base * 2.0**attempt))


class BulkWriter:
    """Writes items until each one is indexed, known to be there already, or refused for good."""

    def __init__(
        self,
        client: OpenSearch,
        *,
        clock: Clock,
        gate: IndexGate,
        backoff: Backoff | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._gate = gate
        self._backoff = backoff or Backoff()
        self._rng = rng or random.Random()  # noqa: S311  # jitter, not a secret
        #: Documents sent again because the cluster was busy.
        self.retries = 0

    def write(self, items: Sequence[Item]) -> list[Verdict]:
        """Write ``items`` and return a verdict for each, in their order; none of them is held.

        Raises:
            HoldError, TooManyIndicesError: the cluster refuses for a reason that is not in the documents, if only one.
            UnavailableError: the cluster stayed busy or unreachable. What had been written by then stays written; the
                same items sent later count as duplicates.
        """
        verdicts = self.write_each(items)
        for verdict in verdicts:
            if verdict.error is not None:
                raise verdict.error
        return verdicts

    def write_each(self, items: Sequence[Item]) -> list[Verdict]:
        """Write ``items`` of several owners and return a verdict for each, in their order.

        What only some of them are refused for (a closed index, one index too many) is the verdict of those.

        Raises:
            HoldError: the cluster refuses all of them for a reason that is not in the documents.
            UnavailableError: the cluster stayed busy or unreachable, as for :meth:`write`.
        """
        verdicts: list[Verdict | None] = [None] * len(items)
        waiting = self._admit(items, verdicts)
        attempt = 0
        while waiting:
            waiting, why = self._send(items, waiting, verdicts)
            if not waiting:
                break
            pause = self._backoff.delay(attempt, self._rng)
            if attempt + 1 >= self._backoff.attempts or pause >= seconds_left():
                reason = f"still refused after {attempt + 1} attempts"
                raise UnavailableError(why, reason, where=items[waiting[0]].index)
            self.retries += len(waiting)
            self._clock.sleep(pause)
            attempt += 1
        return [verdict for verdict in verdicts if verdict is not None]

    def _admit(self, items: Sequence[Item], verdicts: list[Verdict | None]) -> list[int]:
        """Return the positions of the items whose index may be written to; the others are held."""
        refused: dict[str, TooManyIndicesError] = {}
        for index in {item.index for item in items}:
            try:
                self._gate.admit(index)
            except TooManyIndicesError as error:
                refused[index] = error
        if not refused:
            return list(range(len(items)))
        admitted = []
        for position, item in enumerate(items):
            held = refused.get(item.index)
            if held is None:
                admitted.append(position)
            else:
                verdicts[position] = Verdict(Outcome.HOLD, "too_many_new_indices", held.message, held)
        return admitted

    def _send(self, items: Sequence[Item], chosen: list[int], verdicts: list[Verdict | None]) -> tuple[list[int], str]:
        """Send ``chosen`` items once. Return those to be sent again, and why."""
        index = items[chosen[0]].index
        body = bulk_body([items[position] for position in chosen], index)
        try:
            answer = self._client.transport.perform_request(
                "POST", bulk_path(index), params=dict(_PARAMS), headers=dict(_HEADERS), body=body
            )
        except ConnectionTimeout:
            return chosen, "timeout"
        except ClusterConnectionError as error:
            return self._after_lost_connection(items, chosen, verdicts, error)
        except UnreadableAnswerError:
            return chosen, "unreadable_answer"
        except TransportError as error:
            return self._after_refusal(items, chosen, verdicts, error)
        return self._read_answer(items, chosen, verdicts, answer)

    def _read_answer(
        self, items: Sequence[Item], chosen: list[int], verdicts: list[Verdict | None], answer: Any
    ) -> tuple[list[int], str]:
        if all_created(answer, len(chosen)):
            for position in chosen:
                verdicts[position] = INDEXED
            return [], ""
        answered = items_of(answer, len(chosen))
        if answered is None:
            # Nothing can be said about any of them: send again, what was written answers as a duplicate.
            return chosen, "incomplete_answer"
        again: list[int] = []
        why = ""
        for position, entry in zip(chosen, answered, strict=True):
            outcome, kind, reason = classify(entry)
            if outcome is Outcome.INDEXED:
                verdicts[position] = INDEXED
            elif outcome is Outcome.DUPLICATE:
                verdicts[position] = DUPLICATE
            elif outcome is Outcome.RETRY:
                again.append(position)
                why = kind
            elif outcome is Outcome.HOLD:
                index = items[position].index
                self._gate.forget(index)
                verdicts[position] = Verdict(outcome, kind, reason, HoldError(kind, reason, where=index))
            else:
                verdicts[position] = Verdict(outcome, kind, reason)
        return again, why

    def _after_refusal(
        self, items: Sequence[Item], chosen: list[int], verdicts: list[Verdict | None], error: TransportError
    ) -> tuple[list[int], str]:
        status = error.status_code if isinstance(error.status_code, int) else 0
        info = error.info if isinstance(error.info, dict) else {}
        kind, reason = error_of(info.get("error", error.error))
        if kind == "unknown":
            kind = f"status_{status}"
        if status in (400, 413):
            return self._bisect(items, chosen, verdicts, Verdict(Outcome.REJECTED, kind, reason))
        if of_error(status, kind, reason) is Outcome.RETRY:
            return chosen, kind
        raise HoldError(kind, reason, where=bulk_path(items[chosen[0]].index))

    def _after_lost_connection(
        self,
        items: Sequence[Item],
        chosen: list[int],
        verdicts: list[Verdict | None],
        error: ClusterConnectionError,
    ) -> tuple[list[int], str]:
        """Wait for the cluster, then halve: if one document brings the node down, it ends up alone.

        A document is only blamed after its third loss alone, since nodes also stop for reasons of their own.
        """
        if not self._wait_until_alive():
            return chosen, "connection_lost"
        log.warning("connection lost in a bulk request", extra={"documents": len(chosen), "error": str(error.error)})
        if len(chosen) == 1:
            items[chosen[0]].losses += 1
            if items[chosen[0]].losses < _LOSSES_TO_BLAME:
                return chosen, "connection_lost"
        return self._bisect(items, chosen, verdicts, Verdict(Outcome.REJECTED, "connection_lost", str(error.error)))

    def _wait_until_alive(self) -> bool:
        for attempt in range(self._backoff.attempts):
            try:
                self._client.transport.perform_request("HEAD", "/")
                return True
            except TransportError as error:
                # Whoever refuses is there: serverless collections and some distributions have no root page.
                if isinstance(error.status_code, int) and 400 <= error.status_code < 500:
                    return True
            pause = self._backoff.delay(attempt, self._rng)
            if pause >= seconds_left():
                break
            self._clock.sleep(pause)
        return False

    def _bisect(
        self, items: Sequence[Item], chosen: list[int], verdicts: list[Verdict | None], culprit: Verdict
    ) -> tuple[list[int], str]:
        if len(chosen) == 1:
            verdicts[chosen[0]] = culprit
            return [], ""
        middle = len(chosen) // 2
        first, why_first = self._send(items, chosen[:middle], verdicts)
        second, why_second = self._send(items, chosen[middle:], verdicts)
        return first + second, why_first or why_second
