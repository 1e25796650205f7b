"""What people are told about an alert, before any channel gives it a form. Pure.

What an alert names was chosen by whoever caused its events. A channel's own escaping keeps it from being markup; here
it loses control characters and length, and addresses in it lose what mail readers and chats make links of.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from loader.detection.matches import values
from loader.detection.model import Level
from loader.detection.reason import actor, clean

Kind = Literal["alert", "withdrawn", "digest", "test"]
LEVELS: tuple[Level, ...] = get_args(Level)

#: Alerts and rules that a digest names one by one.
SHOWN_RULES = 15
SHOWN_ALERTS = 10

_LONGEST_TEXT = 1000
_LONGEST_TITLE = 150
_SHOWN_VALUES = 3
_WEB = re.compile(r"(?i)(?:(?<=\bwww)\.|:(?=//))")


@dataclass(frozen=True, slots=True)
class Fact:
    """One line: what it is, and what it says."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Subject:
    """An alert as it lies in the cluster."""

    index: str
    id: str
    body: Mapping[str, Any]

    @property
    def level(self) -> Level:
        """Return its severity; ``medium`` if it has none that is known."""
        level = text_at(self.body, "siem.level")
        return level if level in LEVELS else "medium"

    @property
    def withdrawn(self) -> bool:
        """Return whether later events have refuted it."""
        return text_at(self.body, "siem.verdict") == "withdrawn"


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``key`` is the same each time it is sent: receivers that can, show it once.

    ``data`` is for machines, as the cluster has it; everything else is for people, made harmless as text.
    """

    key: str
    kind: Kind
    level: Level
    title: str
    text: str
    #: The event's time (RFC 3339).
    time: str
    facts: tuple[Fact, ...] = ()
    runbook: str = ""
    link: str | None = None
    command: str = ""
    #: A digest's lines.
    lines: tuple[str, ...] = ()
    rule: str = ""
    account: str = ""
    #: The key of the message that this one is about.
    about: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """Return one line that says what matters on a telephone's screen."""
        before = {"withdrawn": "WITHDRAWN, ", "test": "TEST, "}.get(self.kind, "")
        account = f" (account {self.account})" if self.account else ""
        return f"{before}{self.level.upper()}: {self.title}{account}"

    @property
    def next_command(self) -> str:
        """Return the command to begin with, unless the runbook begins with it."""
        return "" if self.command in self.runbook else self.command

    def plain(self) -> str:
        """Return the whole message as text."""
        parts = [self.subject, self.text]
        if self.lines:
            parts.append("\n".join(self.lines))
        if self.facts:
            width = max(len(fact.label) for fact in self.facts)
            parts.append("\n".join(f"{fact.label:<{width}}  {fact.value}" for fact in self.facts))
        if self.runbook:
            parts.append(f"What to do: {self.runbook}")
        if self.next_command:
            parts.append(self.next_command)
        if self.link:
            parts.append(self.link)
        return "\n\n".join(part for part in parts if part) + "\n"


def shown(value: object, longest: int = 200) -> str:
    """Return ``value`` as one harmless piece of a line, in which no reader finds an address to make a link of.

    >>> shown("curl https://evil.example")
    'curl https[:]//evil.example'
    """
    text = "".join(character if character.isprintable() else " " for character in clean(value, longest))
    return _WEB.sub(lambda match: f"[{match[0]}]", text)


def text_at(body: Mapping[str, Any], path: str) -> str:
    """Return the first value at ``path`` as text, as it is; empty when there is none."""
    return next((str(value) for value in values(body, path) if isinstance(value, (str, int, float))), "")


def _listed(body: Mapping[str, Any], *paths: str) -> str:
    for path in paths:
        if found := [shown(value) for value in values(body, path)]:
            more = f" and {len(found) - _SHOWN_VALUES} more" if len(found) > _SHOWN_VALUES else ""
            return ", ".join(found[:_SHOWN_VALUES]) + more
    return ""


def alert_message(subject: Subject, *, key: str, link: str | None, about: str | None = None) -> Message:
    """Return what is said about one alert: that it was raised, or that it was withdrawn."""
    body, kind = subject.body, ("withdrawn" if subject.withdrawn else "alert")
    reason = shown(text_at(body, "event.reason") or text_at(body, "message"), _LONGEST_TEXT)
    if subject.withdrawn:
        reason = f"Events that arrived later refute this alert: nothing is left that it rests on. It said: {reason}"
    first, last = text_at(body, "siem.first_event"), text_at(body, "siem.last_event")
    count = text_at(body, "siem.count")
    facts = (
        Fact("Who", _who(body)),
        Fact("From", _listed(body, "source.address", "source.ip")),
        Fact("Account", _listed(body, "cloud.account.id")),
        Fact("Region", _listed(body, "cloud.region")),
        Fact("When (events)", _period(first, last)),
        Fact("Events", f"{count}; more may have come since" if count not in ("", "1") else count),
        Fact("Rule", shown(text_at(body, "rule.id"))),
        Fact("Technique", _listed(body, "threat.technique.id")),
    )
    return Message(
        key=key,
        kind="withdrawn" if kind == "withdrawn" else "alert",
        level=subject.level,
        title=clean(text_at(body, "rule.name") or "Alert", _LONGEST_TITLE),
        text=reason,
        time=text_at(body, "@timestamp"),
        facts=tuple(fact for fact in facts if fact.value),
        runbook="" if subject.withdrawn else _runbook(subject),
        link=link,
        command=f"siem alerts show {shown(subject.id)}",
        rule=text_at(body, "rule.uuid"),
        account=shown(text_at(body, "cloud.account.id")),
        about=about,
        data={"alert": _for_machines(subject)},
    )


def digest_message(subjects: Sequence[Subject], *, key: str, link: str | None, waiting: int = 0) -> Message:
    """Return one message about many alerts, most severe first. ``waiting`` more are due and not among them."""
    ordered = sorted(subjects, key=lambda one: (-LEVELS.index(one.level), text_at(one.body, "@timestamp")))
    levels = Counter(one.level for one in ordered)
    rules = Counter((one.level, shown(text_at(one.body, "rule.name"), _LONGEST_TITLE)) for one in ordered)
    most = sorted(rules.items(), key=lambda item: (-LEVELS.index(item[0][0]), -item[1], item[0][1]))
    lines: list[str] = []
    if len(ordered) > SHOWN_ALERTS:  # else each is named below
        lines += [f"{count} x {level}: {title}" for (level, title), count in most[:SHOWN_RULES]]
        if len(most) > SHOWN_RULES:
            lines.append(f"and {len(most) - SHOWN_RULES} more rules")
        lines += ["", "The first:"]
    lines += [_line(one) for one in ordered[:SHOWN_ALERTS]]
    if len(ordered) > SHOWN_ALERTS:
        lines.append(f"and {len(ordered) - SHOWN_ALERTS} more alerts")
    by_level = ", ".join(f"{levels[level]} {level}" for level in reversed(LEVELS) if levels[level])
    if withdrawn := sum(one.withdrawn for one in ordered):
        by_level += f"; {withdrawn} of them withdrawn"
    times = sorted(text_at(one.body, "@timestamp") for one in ordered)
    since = f" --since {times[0]}" if times else ""
    top = ordered[0].level if ordered else "medium"
    accounts = {text_at(one.body, "cloud.account.id") for one in ordered}
    return Message(
        key=key,
        kind="digest",
        level=top,
        title=f"{len(ordered)} alerts: {by_level}",
        text="More alerts than this channel is sent one by one. None is left out: each is in the list that the command "
        "shows." + (f" {waiting} more wait for the next message." if waiting else ""),
        time=times[-1] if times else "",
        link=link,
        command=f"siem alerts list{since} --limit {min(max(len(ordered), 50), 10_000)}",
        lines=tuple(lines),
        account=shown(accounts.pop()) if len(accounts) == 1 else "",
        data={
            "digest": {
                "count": len(ordered),
                "levels": dict(levels),
                "alerts": [{"id": one.id, "index": one.index, "level": one.level} for one in ordered],
            }
        },
    )


def _line(subject: Subject) -> str:
    """Return an alert as one line of a digest: when, how bad, what, who, from where, and the id to look it up by."""
    body = subject.body
    what = f"withdrawn, {subject.level}" if subject.withdrawn else subject.level
    source = _listed(body, "source.address", "source.ip")
    place = f" from {source}" if source else ""
    title = clean(text_at(body, "rule.name") or "Alert", _LONGEST_TITLE)
    who = actor(body)
    by = "" if who == "Somebody unnamed" else f", {shown(who)}"
    return f"{_moment(text_at(body, '@timestamp'))} {what}: {title}{by}{place} ({shown(subject.id)})"


def _moment(time: str) -> str:
    """Return ``2026-11-26T02:58:00.000Z`` as ``2026-11-26 02:58:00``."""
    return time[:19].replace("T", " ")


def _period(first: str, last: str) -> str:
    if not first:
        return ""
    start, end = _moment(first), _moment(last)
    if start == end:
        return f"{start} UTC"
    return f"{start} to {end[11:] if start[:10] == end[:10] else end} UTC"


def test_message(channel: str, *, key: str, time: str) -> Message:
    """Return the message that tries a channel out."""
    return Message(
        key=key,
        kind="test",
        level="informational",
        title=f"Channel {shown(channel)} works",
        text="Somebody tried this channel with `siem notify test`. There is nothing to do.",
        time=time,
        data={"test": {"channel": channel}},
    )


def _who(body: Mapping[str, Any]) -> str:
    name = actor(body)
    arn = _listed(body, "aws.cloudtrail.user_identity.arn")
    if name == "Somebody unnamed":
        return arn
    return f"{shown(name)} ({arn})" if arn and arn != shown(name) else shown(name)


def _runbook(subject: Subject) -> str:
    words = text_at(subject.body, "siem.runbook").replace("<id>", subject.id).split()
    return clean(" ".join(words), _LONGEST_TEXT)


def _for_machines(subject: Subject) -> dict[str, Any]:
    siem = dict(subject.body.get("siem") or {})
    siem["evidence"] = list(siem.get("evidence") or ())[:20]
    return {"id": subject.id, "index": subject.index, **subject.body, "siem": siem}
