"""New indices: how many an hour, and how old they say they are.

Forged or broken event times must not create thousands of indices, nor use up what today's events need: indices of these
days are always admitted. And lifecycle managers count from an index's creation, so an index of a day gone by is created
with that day as its date.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from datetime import datetime, timedelta, timezone

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, RequestError, TransportError

from loader.clock import Clock, months_ahead
from loader.errors import ClusterError
from loader.index.retention import day_of

_HOUR_S = 3600.0
#: What says from when an index's age counts, and can be given when it is created: OpenSearch knows the first and ISM
#: counts from it; Elasticsearch refuses it, and has the second where it has ILM.
_DATES = ("index.creation_date", "index.lifecycle.origination_date")


class TooManyIndicesError(ClusterError):
    """Writing would create more new indices within an hour than is allowed: the message waits."""


#: Days before and after today whose indices are always admitted: no more than these can be asked for.
_THESE_DAYS = range(-1, 8)
_MONTH = re.compile(r".*-(\d{4})\.(\d\d)", re.ASCII)


class IndexGate:
    """Admits writes to indices that exist, and to at most ``per_hour`` new ones an hour. Safe between threads.

    Those of the last seven days and of tomorrow, of this month and the ones around it, and those without a date are
    not counted: they are few, whatever somebody writes into records.

    An index of events of a day within the last ``keep_days`` is created with the start of that day as its creation
    date. Older ones are dated as they are made: whoever loads them now wants to look at them, and a lifecycle manager
    would delete them within minutes.
    """

    def __init__(self, client: OpenSearch, *, clock: Clock, per_hour: int = 100, keep_days: int = 730) -> None:
        self._client = client
        self._clock = clock
        self._per_hour = per_hour
        self._keep = timedelta(days=keep_days)
        self._known: set[str] = set()
        self._created: deque[float] = deque()
        self._lock = threading.Lock()

    def admit(self, index: str) -> None:
        """Return if documents may be written to ``index``.

        Raises:
            TooManyIndicesError: ``index`` would be one too many.
            ClusterError: the cluster cannot be asked whether it exists, or cannot create it now.
        """
        with self._lock:
            if index in self._known:
                return
            try:
                exists = bool(self._client.indices.exists(index=index))
            except TransportError as error:
                raise ClusterError(f"cannot ask whether the index exists: {error.error}", where=index) from None
            if not exists:
                counts = not self._is_of_these_days(index)
                if counts:
                    self._hold_limit(index)
                self._create(index)
                if counts:
                    self._created.append(self._clock.monotonic())
            self._known.add(index)

    def forget(self, index: str) -> None:
        """Ask the cluster again about ``index`` before the next write."""
        with self._lock:
            self._known.discard(index)

    def _is_of_these_days(self, index: str) -> bool:
        today, day = self._clock.now().date(), day_of(index)
        if day is not None:
            return (today - day).days in _THESE_DAYS
        month = _MONTH.fullmatch(index)
        if month is None:
            return True
        return -1 <= months_ahead(today, int(month.group(1)), int(month.group(2))) <= 1

    def _hold_limit(self, index: str) -> None:
        now = self._clock.monotonic()
        while self._created and now - self._created[0] > _HOUR_S:
            self._created.popleft()
        if len(self._created) >= self._per_hour:
            raise TooManyIndicesError(
                f"{len(self._created)} new indices were created within an hour",
                where=index,
                hint="For a backfill of many days raise SIEM_NEW_INDICES_PER_HOUR.",
            )

    def _create(self, index: str) -> None:
        """Create an index of events with its day's date; any other is created by the first write to it."""
        day = day_of(index)
        if day is None:
            return
        start = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
        # Not one of a day to come: managers do not expect an age below zero.
        if not timedelta(0) <= self._clock.now() - start < self._keep:
            return
        for setting in _DATES:
            try:
                self._client.indices.create(index=index, body={"settings": {setting: int(start.timestamp() * 1000)}})
            except RequestError as error:
                if error.error == "resource_already_exists_exception":  # another worker was faster
                    return
            except AuthorizationException:
                return
            except TransportError as error:
                raise ClusterError(f"cannot create the index: {error.error}", where=index) from None
            else:
                return
        # None of them may be given here: the first write creates the index.
