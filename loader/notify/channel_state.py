"""How each channel does, shared by all senders: what it was sent lately, since when it fails, until when it rests."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConflictError, NotFoundError, TransportError

from loader.clock import Clock, rfc3339
from loader.errors import ClusterError
from loader.notify.configuration import Rate

CHANNELS_INDEX = "siem-channels"

_ATTEMPTS = 20
_FIRST_REST_S, _LONGEST_REST_S = 5.0, 900.0


@dataclass(frozen=True, slots=True)
class ChannelState:
    """One channel. ``sent`` holds the times of its last messages in milliseconds since 1970."""

    name: str
    sent: tuple[int, ...] = ()
    failures: int = 0
    failing_since: str | None = None
    resting_until: str | None = None
    last_sent: str | None = None
    error: str | None = None
    version: tuple[int, int] | None = field(default=None, compare=False)

    def resting(self, now: datetime) -> bool:
        """Return whether nothing is to be sent yet."""
        return self.resting_until is not None and rfc3339(now) < self.resting_until

    def budget(self, rate: Rate, now: datetime) -> int:
        """Return how many messages may be sent now."""
        since = _ms(now - rate.period)
        return max(0, rate.messages - sum(1 for time in self.sent if time > since))


class ChannelStates:
    """Reads and changes the states, each change with compare-and-set."""

    def __init__(self, client: OpenSearch, *, clock: Clock, chance: Callable[[], float] = random.random) -> None:
        self._client = client
        self._clock = clock
        self._chance = chance

    def read(self, name: str) -> ChannelState:
        """Return a channel's state; an empty one for a channel that was never used.

        Raises:
            ClusterError: the cluster cannot be asked.
        """
        try:
            doc = self._client.get(index=CHANNELS_INDEX, id=name)
        except NotFoundError:
            return ChannelState(name)
        except TransportError as error:
            raise ClusterError(f"cannot read a channel's state: {error.error}", where=CHANNELS_INDEX) from None
        source: dict[str, Any] = doc["_source"]
        return ChannelState(
            name,
            tuple(source.get("sent", ())),
            int(source.get("failures", 0)),
            source.get("failing_since"),
            source.get("resting_until"),
            source.get("last_sent"),
            source.get("error"),
            version=(doc["_seq_no"], doc["_primary_term"]),
        )

    def take(self, name: str, rate: Rate) -> bool:
        """Take the right to send one message. Return ``False`` when there is none at present.

        Raises:
            ClusterError: the cluster cannot be asked.
        """
        taken = False

        def change(state: ChannelState, now: datetime) -> ChannelState | None:
            nonlocal taken
            taken = state.budget(rate, now) > 0
            since = _ms(now - max(rate.period, timedelta(hours=1)))
            kept = tuple(time for time in state.sent if time > since)[-rate.messages :]
            return replace(state, sent=(*kept, _ms(now))) if taken else None

        self._change(name, change)
        return taken

    def delivered(self, name: str) -> None:
        """Note that a message was taken.

        Raises:
            ClusterError: it cannot be noted.
        """
        self._change(
            name,
            lambda state, now: replace(
                state, failures=0, failing_since=None, resting_until=None, error=None, last_sent=rfc3339(now)
            ),
        )

    def failed(self, name: str, error: str, *, retry_after: float | None) -> ChannelState:
        """Note that the channel does not work, and let it rest: longer each time, by chance, or as long as asked.

        Raises:
            ClusterError: it cannot be noted.
        """

        def change(state: ChannelState, now: datetime) -> ChannelState:
            rest = back_off(state.failures, self._chance()) if retry_after is None else retry_after
            return replace(
                state,
                # What was not sent does not count.
                sent=state.sent[:-1],
                failures=state.failures + 1,
                failing_since=state.failing_since or rfc3339(now),
                resting_until=rfc3339(now + timedelta(seconds=rest)),
                error=error,
            )

        return self._change(name, change)

    def wake(self, name: str) -> None:
        """End a rest: a person says that the channel works again.

        Raises:
            ClusterError: it cannot be noted.
        """
        self._change(name, lambda state, _: replace(state, resting_until=None) if state.resting_until else None)

    def _change(self, name: str, change: Callable[[ChannelState, datetime], ChannelState | None]) -> ChannelState:
        for attempt in range(_ATTEMPTS):
            state = self.read(name)
            now = self._clock.now()
            changed = change(state, now)
            if changed is None:
                return state
            params: dict[str, Any] = {"op_type": "create"}
            if state.version:
                params = {"if_seq_no": state.version[0], "if_primary_term": state.version[1]}
            try:
                self._client.index(index=CHANNELS_INDEX, id=name, body=_document(changed, now), params=params)
                return changed
            except ConflictError:
                self._clock.sleep(0.01 * self._chance() * 2 ** min(attempt, 5))
            except TransportError as error:
                raise ClusterError(f"cannot write a channel's state: {error.error}", where=CHANNELS_INDEX) from None
        raise ClusterError(f"the state of {name} keeps changing", where=CHANNELS_INDEX)


def back_off(failures: int, chance: float) -> float:
    """Return the seconds to rest after so many failures: doubled each time up to a quarter of an hour, and jittered."""
    return min(_LONGEST_REST_S, _FIRST_REST_S * 2.0 ** min(failures, 20)) * (0.5 + 0.5 * chance)


def _document(state: ChannelState, now: datetime) -> dict[str, Any]:
    found = {
        "channel": state.name,
        "sent": list(state.sent),
        "failures": state.failures,
        "failing_since": state.failing_since,
        "resting_until": state.resting_until,
        "last_sent": state.last_sent,
        "error": state.error,
        "updated": rfc3339(now),
    }
    return {name: value for name, value in found.items() if value is not None}


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
