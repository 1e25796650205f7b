"""Noting in the outbox who is to be told of alerts: what detection calls between writing alerts and its progress.

A crash before the call leaves the events unexamined, so that the alerts come again and with them the call; a crash
after it leaves entries that nobody loses. Whatever is called twice ends in the same entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from opensearchpy import OpenSearch

from loader.clock import Clock, rfc3339
from loader.detection.alerts import ALERTS_PREFIX, SEVERITY, Alert
from loader.notify.configuration import Configuration
from loader.notify.message import Subject, text_at
from loader.notify.outbox import Entry, Outbox, Said, entry_id, index_of
from loader.notify.routing import channels_of

WITHDRAWN = "withdrawn before it was sent"


class Announcer:
    """Notes alerts by the configuration's routes. ``configuration`` is asked for what holds now."""

    def __init__(self, client: OpenSearch, configuration: Callable[[], Configuration], *, clock: Clock) -> None:
        self._outbox = Outbox(client)
        self._configuration = configuration
        self._clock = clock

    def __call__(self, alerts: Sequence[Alert], *, without: str | None = None) -> None:
        """Note ``alerts``, as they are in the cluster now; nothing for the channel ``without``.

        Raises:
            OutboxRefusedError: the cluster refuses an entry for good.
            ClusterError: it cannot be noted now; the same alerts have to be announced again.
        """
        routes = self._configuration().routes
        wanted = [
            _Wanted(Subject(alert.index, alert.id, alert.body), channel)
            for alert in alerts
            for channel in channels_of(routes, alert.body)
            if channel != without
        ]
        if not wanted:
            return
        self._continue(wanted)
        fresh = [one for one in wanted if not one.subject.withdrawn]
        new = self._outbox.add([self._entry(one) for one in fresh])
        # Alerts of groups are revised: an entry that stands may have something new to say.
        again = [one for one, is_new in zip(fresh, new, strict=True) if not is_new and one.is_revised]
        self._rearm([*again, *(one for one in wanted if one.subject.withdrawn)])

    def _continue(self, wanted: Sequence[_Wanted]) -> None:
        """Mark those that continue an alert which is told, or will be: they say nothing new."""
        continuing = [one for one in wanted if one.continues]
        if not continuing:
            return
        places = [(index, one.earlier_id) for one in continuing for index in one.earlier_indices]
        known = set(self._outbox.read(places)) | {one.id for one in wanted if not one.subject.withdrawn}
        for one in continuing:
            one.continued = one.earlier_id in known

    def _rearm(self, wanted: Sequence[_Wanted]) -> None:
        if not wanted:
            return
        known = self._outbox.read([(index_of(one.subject.index), one.id) for one in wanted])
        now = rfc3339(self._clock.now())
        changed = [
            rearmed(entry, now)
            for one in wanted
            if (entry := known.get(one.id)) and news(entry, one.subject, continued=one.continued)
        ]
        # Whoever was faster is a sender, and looks at the alert again itself.
        self._outbox.put(changed)

    def _entry(self, one: _Wanted) -> Entry:
        now, body = rfc3339(self._clock.now()), one.subject.body
        return Entry(
            alert_index=one.subject.index,
            alert_id=one.subject.id,
            channel=one.channel,
            level=one.subject.level,
            severity=SEVERITY[one.subject.level],
            rule_id=text_at(body, "rule.id"),
            rule_name=text_at(body, "rule.name"),
            noted=now,
            since=now,
            next_at=now,
            state="continued" if one.continued else "waiting",
            reason=f"continues {one.continues}" if one.continued else None,
        )


@dataclass(slots=True)
class _Wanted:
    subject: Subject
    channel: str
    continued: bool = False

    @property
    def id(self) -> str:
        return entry_id(self.subject.id, self.channel)

    @property
    def continues(self) -> str:
        return text_at(self.subject.body, "siem.continues")

    @property
    def earlier_id(self) -> str:
        return entry_id(self.continues, self.channel)

    @property
    def earlier_indices(self) -> tuple[str, ...]:
        """Return where the entry of the alert before may be: in the same month, or in the one before."""
        index = self.subject.index
        try:
            year, month = map(int, index.removeprefix(ALERTS_PREFIX).split("."))
            before = date(year, month, 1) - timedelta(days=1)
        except ValueError:
            return (index_of(index),)
        return index_of(index), index_of(f"{ALERTS_PREFIX}{before.year:04d}.{before.month:02d}")

    @property
    def is_revised(self) -> bool:
        return "group" in (self.subject.body.get("siem") or {})


def wants(subject: Subject) -> Said:
    """Return what there is to say about an alert as it is now."""
    return "withdrawn" if subject.withdrawn else "alert"


def news(entry: Entry, subject: Subject, *, continued: bool = False) -> bool:
    """Return whether an entry that stands has to be sent after all, or again, now that its alert is as it is."""
    if entry.state == "sent":
        return entry.said != wants(subject)
    if entry.state == "settled":
        return entry.reason == WITHDRAWN and not subject.withdrawn
    return entry.state == "continued" and not continued and not subject.withdrawn


def rearmed(entry: Entry, now: str) -> Entry:
    """Return ``entry`` as one that is to be sent; what was sent before has another key."""
    return replace(
        entry,
        state="waiting",
        round=entry.round + 1,
        since=now,
        next_at=now,
        attempts=0,
        message=None,
        error=None,
        reason=None,
    )
