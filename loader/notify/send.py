"""Emptying the outbox: claim, send, mark. At least once, under the same key; each channel by itself.

A channel that does not work rests, and its entries wait; the others go on. More than a channel's rate allows becomes
one digest that names them all, the critical ones first and by themselves as far as the rate goes.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from threading import Thread
from time import monotonic
from typing import Any

from opensearchpy import OpenSearch

from loader.clock import rfc3339
from loader.detection.alert_store import AlertStore
from loader.errors import SiemError
from loader.index.identifiers import derived_id
from loader.notify.announce import WITHDRAWN, Announcer, news, rearmed, wants
from loader.notify.channel import Channel, Tools
from loader.notify.channel_state import ChannelStates, back_off
from loader.notify.channel_trouble import TROUBLE_AFTER, trouble_alert
from loader.notify.configuration import ChannelConfig, Configuration
from loader.notify.errors import SendError
from loader.notify.links import Links
from loader.notify.message import Message, Subject, alert_message, digest_message, text_at
from loader.notify.outbox import Entry, Outbox

log = logging.getLogger(__name__)

#: How long a claim holds: longer than any channel's time-outs.
CLAIM = timedelta(minutes=5)

#: Seconds that a pass waits for its channels.
_LONGEST_PASS_S = 60.0
_PAGE = 5000
_ERROR_CHARS = 500


@dataclass(slots=True)
class ChannelReport:
    """What one pass did for one channel. ``alerts`` counts entries that were delivered, ``messages`` what was sent."""

    messages: int = 0
    alerts: int = 0
    digests: int = 0
    settled: int = 0
    failed: int = 0
    given_up: int = 0
    #: Due, and kept back by the rate or because the channel rests.
    waiting: int = 0
    error: str | None = None


@dataclass(slots=True)
class SendReport:
    """What one pass did, by channel."""

    channels: dict[str, ChannelReport] = field(default_factory=dict)

    @property
    def errors(self) -> dict[str, str]:
        """Return what went wrong, by channel."""
        return {name: report.error for name, report in self.channels.items() if report.error}

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for ``--json``."""
        return {name: asdict(report) for name, report in self.channels.items()}


class Sender:
    """Sends what is due. ``configuration`` is asked before each pass for what holds now."""

    def __init__(
        self,
        client: OpenSearch,
        configuration: Callable[[], Configuration],
        tools: Tools,
        *,
        holder: str,
        links: Links | None = None,
        chance: Callable[[], float] = random.random,
        step: Callable[[str], None] = lambda _: None,
        longest_pass_s: float = _LONGEST_PASS_S,
    ) -> None:
        self._longest_pass_s = longest_pass_s
        self._busy: dict[str, Thread] = {}
        self._client = client
        self._configuration = configuration
        self._tools = tools
        self._clock = tools.clock
        self._holder = holder
        self._links = links or Links()
        self._chance = chance
        self._step = step
        self._outbox = Outbox(client)
        self._states = ChannelStates(client, clock=tools.clock, chance=chance)
        self._alerts = AlertStore(client, clock=tools.clock)
        self._announce = Announcer(client, configuration, clock=tools.clock)
        self._channels: dict[str, tuple[ChannelConfig, Channel]] = {}

    def run_pass(self, *, stop: Callable[[], bool] = lambda: False) -> SendReport:
        """Send what is due on every channel. ``stop`` is asked before each message.

        What goes wrong is in the report; nothing is raised for it.
        """
        configs = self._configuration().channels
        report = SendReport({name: ChannelReport() for name in configs})
        # A receiver that does not answer keeps no other channel waiting, nor one that answers for ever the next pass.
        for name, config in configs.items():
            if name in self._busy and self._busy[name].is_alive():
                report.channels[name].error = "still busy with the message before"
                continue
            work = (config, report.channels[name], stop)
            self._busy[name] = Thread(target=self._guarded, args=work, name=f"notify-{name}", daemon=True)
            self._busy[name].start()
        until = monotonic() + self._longest_pass_s
        for thread in self._busy.values():
            thread.join(max(0.0, until - monotonic()))
        return report

    def _guarded(self, config: ChannelConfig, report: ChannelReport, stop: Callable[[], bool]) -> None:
        try:
            self._serve(config, report, stop)
        except SiemError as error:
            report.error = self._harmless(error)
            log.error("a channel was not served", extra={"channel": config.name, "error": report.error})
        except Exception as error:  # a defect in one channel keeps no other from sending
            report.error = f"{type(error).__name__}"
            log.exception("a channel failed", extra={"channel": config.name})

    def _serve(self, config: ChannelConfig, report: ChannelReport, stop: Callable[[], bool]) -> None:
        state = self._states.read(config.name)
        if state.failures:
            self._give_up_overdue(config, report)
        while not stop():
            now = self._clock.now()
            state = self._states.read(config.name)
            due, total = self._outbox.due(config.name, now, limit=_PAGE)
            budget = 0 if state.resting(now) else state.budget(config.rate, now)
            if not due or not budget:
                report.waiting = total
                report.error = state.error if state.failures else None
                return
            told = self._worth_telling(config, due, report, now)
            if not told:
                continue
            for group in _grouped(told, budget):
                if stop() or not self._states.take(config.name, config.rate):
                    break
                if not self._deliver(config, group, report, waiting=total - len(due)):
                    break

    def _worth_telling(
        self, config: ChannelConfig, due: Sequence[Entry], report: ChannelReport, now: datetime
    ) -> list[tuple[Entry, Subject]]:
        """Return the entries that still have something to say, with their alerts; put the others aside."""
        stored = self._alerts.read([(entry.alert_index, entry.alert_id) for entry in due])
        told: list[tuple[Entry, Subject]] = []
        aside: list[Entry] = []
        for one in due:
            found = stored.get((one.alert_index, one.alert_id))
            subject = Subject(one.alert_index, one.alert_id, found.body) if found else None
            entry = _overtaken(one, subject)
            if ended := _ended(config, entry, subject):
                aside.append(ended)
            elif entry.attempts and _age(entry, now) > config.give_up_after:
                aside.append(_given_up(config, entry))
                report.given_up += 1
            elif subject:
                told.append((entry, subject))
        written = self._outbox.put(aside)
        report.settled += sum(1 for entry in written if entry and entry.state != "given-up")
        if any(entry and entry.state == "given-up" for entry in written):
            self._tell_of_trouble(config, "messages were given up")
        return told

    def _deliver(
        self, config: ChannelConfig, group: Sequence[tuple[Entry, Subject]], report: ChannelReport, *, waiting: int
    ) -> bool:
        """Claim, send and mark. Return whether the channel can be sent the next message."""
        now = self._clock.now()
        before = group[0][0].message
        key = before or message_key([entry for entry, _ in group])
        claims = [
            replace(
                entry,
                message=key,
                attempts=entry.attempts + 1,
                next_at=rfc3339(now + CLAIM),
                sender=self._holder,
            )
            for entry, _ in group
        ]
        written = self._outbox.put(claims)
        mine = [(entry, subject) for entry, (_, subject) in zip(written, group, strict=True) if entry]
        if not mine:
            return True
        self._step("claimed")
        try:
            note = self._channel(config).send(self._message(mine, key, waiting))
        except SendError as error:
            return self._failed(config, mine, error, report, again=before is not None)
        except SiemError as error:
            return self._failed(config, mine, SendError(error.message), report, again=before is not None)
        except Exception as error:
            log.exception("a channel failed", extra={"channel": config.name})
            what = SendError(f"a defect: {type(error).__name__}", maybe_taken=True)
            return self._failed(config, mine, what, report, again=before is not None)
        self._step("sent")
        self._mark_sent(config, mine, note)
        self._states.delivered(config.name)
        report.messages += 1
        report.alerts += len(mine)
        report.digests += len(mine) > 1
        return True

    def _mark_sent(self, config: ChannelConfig, mine: Sequence[tuple[Entry, Subject]], note: str | None) -> None:
        now = rfc3339(self._clock.now())
        written = self._outbox.put(
            [
                replace(
                    entry,
                    state="sent",
                    said=wants(subject),
                    told=entry.told or entry.message,
                    message=None,
                    sent_at=now,
                    error=note,
                    reason=None,
                )
                for entry, subject in mine
            ]
        )
        if note:
            log.warning("a message was taken in part", extra={"channel": config.name, "note": note})
        self._step("marked")
        # Detection changes an alert first and its entry then; we the other way round. So one of us sees the other.
        marked = [entry for entry in written if entry]
        stored = self._alerts.read([(entry.alert_index, entry.alert_id) for entry in marked])
        again = [
            rearmed(entry, now)
            for entry in marked
            if (found := stored.get((entry.alert_index, entry.alert_id)))
            and news(entry, Subject(entry.alert_index, entry.alert_id, found.body))
        ]
        self._outbox.put(again)

    def _failed(
        self,
        config: ChannelConfig,
        mine: Sequence[tuple[Entry, Subject]],
        error: SendError,
        report: ChannelReport,
        *,
        again: bool,
    ) -> bool:
        """Put entries back. ``again`` says that an attempt before this one may have arrived."""
        entries = [entry for entry, _ in mine]
        said = self._harmless(error)
        log.warning("a message was not taken", extra={"channel": config.name, "error": said})
        report.failed += len(entries)
        report.error = said
        now = self._clock.now()
        rest = timedelta(seconds=back_off(max(entry.attempts for entry in entries), self._chance()))
        next_at = rfc3339(now + rest)
        since = None
        if error.whole_channel:
            self._tools.secrets.forget()
            state = self._states.failed(config.name, said, retry_after=error.retry_after)
            next_at, since = state.resting_until or next_at, state.failing_since
        self._outbox.put(
            [
                replace(
                    entry,
                    state="failed",
                    error=said,
                    next_at=next_at,
                    # Sent again as it was, unless it certainly never arrived: then it may join a digest.
                    message=entry.message if again or error.maybe_taken else None,
                )
                for entry in entries
            ]
        )
        if since and rfc3339(now - TROUBLE_AFTER) > since:
            self._tell_of_trouble(config, said)
        return not error.whole_channel

    def _give_up_overdue(self, config: ChannelConfig, report: ChannelReport) -> None:
        while overdue := self._outbox.overdue(config.name, self._clock.now() - config.give_up_after, limit=_PAGE):
            written = [entry for entry in self._outbox.put([_given_up(config, entry) for entry in overdue]) if entry]
            report.given_up += len(written)
            if not written:
                return
            self._tell_of_trouble(config, f"{len(written)} messages were given up")

    def _tell_of_trouble(self, config: ChannelConfig, what: str) -> None:
        """Raise an alert of the system's own, for the other channels and the list of alerts."""
        log.error("a channel is in trouble", extra={"channel": config.name, "error": what})
        alert = trouble_alert(config.name, what, now=self._clock.now())
        self._alerts.create([alert])
        self._announce([alert], without=config.name)

    def _channel(self, config: ChannelConfig) -> Channel:
        made, channel = self._channels.get(config.name, (None, None))
        if channel is None or made != config:
            channel = config.type.make(config.options, self._tools)
            self._channels[config.name] = config, channel
        return channel

    def _message(self, mine: Sequence[tuple[Entry, Subject]], key: str, waiting: int) -> Message:
        if len(mine) > 1:
            subjects = [subject for _, subject in mine]
            return digest_message(subjects, key=key, link=self._links.many(subjects), waiting=waiting)
        ((entry, subject),) = mine
        return alert_message(subject, key=key, link=self._links.one(subject), about=entry.told)

    def _harmless(self, error: SiemError) -> str:
        return self._tools.secrets.redact(error.message)[:_ERROR_CHARS]


def message_key(entries: Sequence[Entry]) -> str:
    """Return the key of a message about these entries: the same for the same entries and the same news."""
    return derived_id(*(part for entry in sorted(entries, key=lambda one: one.id) for part in (entry.id, entry.round)))


def _grouped(told: Sequence[tuple[Entry, Subject]], budget: int) -> list[list[tuple[Entry, Subject]]]:
    """Put entries, most severe first, into at most ``budget`` messages; what does not fit waits.

    What may have arrived stays in the company it was sent in, so that its key means the same. Of the rest each is a
    message of its own if there are enough; else the critical ones are, and one digest takes all others.
    """
    before: dict[str, list[tuple[Entry, Subject]]] = {}
    fresh: list[tuple[Entry, Subject]] = []
    for pair in told:
        if pair[0].message:
            before.setdefault(pair[0].message, []).append(pair)
        else:
            fresh.append(pair)
    groups = list(before.values())[:budget]
    left = budget - len(groups)
    if left <= 0 or not fresh:
        return groups
    if len(fresh) < left or len(fresh) == 1:
        return [*groups, *([pair] for pair in fresh)]
    critical = [pair for pair in fresh if pair[0].level == "critical"]
    alone = critical if len(critical) < left else []
    together = [pair for pair in fresh if pair[0].level != "critical"] if alone else fresh
    return [*groups, *([pair] for pair in alone), *([together] if together else [])]


def _overtaken(entry: Entry, subject: Subject | None) -> Entry:
    """Return ``entry`` as told if its alert was withdrawn after an attempt that may have arrived: the receiver may know
    the alert, so the withdrawal is another message, under another key."""
    if subject is None or not subject.withdrawn or entry.said or not entry.message:
        return entry
    return replace(entry, told=entry.message, message=None, round=entry.round + 1)


def _ended(config: ChannelConfig, entry: Entry, subject: Subject | None) -> Entry | None:
    """Return ``entry`` put aside if there is nothing to say any more."""
    if subject is None:
        return replace(entry, state="settled", message=None, reason="the alert is not there any more")
    said = wants(subject)
    if entry.said == said:
        return replace(entry, state="sent", message=None)
    if entry.told and "withdrawn" not in config.type.takes:
        reason = "this channel is not told of withdrawals"
        return replace(entry, state="sent", said=said, message=None, reason=reason)
    if entry.told is None and entry.message is None:
        if said == "withdrawn":
            return replace(entry, state="settled", reason=WITHDRAWN)
        if text_at(subject.body, "siem.status") == "closed":
            by = text_at(subject.body, "siem.status_by")
            return replace(entry, state="settled", reason=f"closed before it was sent, by {by or 'somebody'}")
    return None


def _given_up(config: ChannelConfig, entry: Entry) -> Entry:
    hours = config.give_up_after.total_seconds() / 3600
    return replace(entry, state="given-up", reason=f"not delivered within {hours:g} hours")


def _age(entry: Entry, now: datetime) -> timedelta:
    return now - datetime.fromisoformat(entry.since.replace("Z", "+00:00"))
