"""Retention by the date in an index's name: for clusters without a lifecycle manager, and for back-filled indices.

A lifecycle manager counts from an index's creation; an index that was filled yesterday with events beyond their age is
young to it (:mod:`loader.index.gate`). The name says what the documents' age is, so the name decides here, and nothing
else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, Literal

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.errors import ClusterError, ConfigError

#: Every index this project writes events to; nothing else is ever touched.
EVENTS: Final = "log-aws-*"
_DATED: Final = re.compile(r"log-aws-[a-z0-9_]+(?:-[a-z0-9_]+)*-(\d{4})\.(\d\d)\.(\d\d)", re.ASCII)

Verdict = Literal["delete", "keep", "refuse"]


@dataclass(frozen=True, slots=True)
class IndexVerdict:
    """What is to become of one index. ``day`` is the date in its name, ``None`` if it has none."""

    index: str
    verdict: Verdict
    reason: str
    day: date | None = None


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What retention would do. ``oldest`` is the first day that is kept."""

    oldest: date
    indices: tuple[IndexVerdict, ...]

    def of(self, verdict: Verdict) -> list[str]:
        """Return the names with this verdict, in order."""
        return [entry.index for entry in self.indices if entry.verdict == verdict]


@dataclass(slots=True)
class RetentionResult:
    """What retention did. ``would_delete`` is filled by a dry run, ``failed`` holds what the cluster answered."""

    deleted: list[str] = field(default_factory=list)
    would_delete: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def day_of(index: str) -> date | None:
    """Return the date in the name of an event index, ``None`` if it is no event index or has no date in its name."""
    match = _DATED.fullmatch(index)
    if match is None:
        return None
    try:
        return date(*(int(part) for part in match.groups()))
    except ValueError:
        return None


def plan_retention(indices: Iterable[str], *, today: date, days: int) -> RetentionPlan:
    """Say of each index whether its last document is more than ``days`` days old on ``today`` (UTC).

    Kept are today's index and those of days to come; refused are names that are not this project's event indices, and
    those without a date, such as ``log-aws-cloudtrail-misdated``.

    Raises:
        ConfigError: ``days`` is less than 1.
    """
    if days < 1:
        raise ConfigError("retention must be at least one day", where="days", hint="Two years are 730.")
    oldest = today - timedelta(days=min(days, (today - date.min).days))
    return RetentionPlan(oldest, tuple(_judge(index, today, oldest) for index in sorted(set(indices))))


def _judge(index: str, today: date, oldest: date) -> IndexVerdict:
    if not index.startswith(EVENTS[:-1]):
        return IndexVerdict(index, "refuse", "not an index of events")
    day = day_of(index)
    if day is None:
        return IndexVerdict(index, "refuse", "no date in the name: delete it by hand when nobody needs it")
    if day > today:
        return IndexVerdict(index, "keep", "a day to come", day)
    if day < oldest:
        return IndexVerdict(index, "delete", f"{(today - day).days} days old", day)
    return IndexVerdict(index, "keep", "today's" if day == today else f"{(today - day).days} days old", day)


def event_indices(client: OpenSearch) -> list[str]:
    """Return the names of all event indices, open, closed and hidden.

    Raises:
        ClusterError: the cluster cannot say.
    """
    try:
        answer = client.indices.get_settings(
            index=EVENTS, params={"expand_wildcards": "all", "filter_path": "*.settings.index.uuid"}
        )
    except TransportError as error:
        raise ClusterError(f"cannot list the indices: {error.error}", where=EVENTS) from None
    return sorted(answer)


def apply_retention(
    client: OpenSearch, plan: RetentionPlan, *, dry_run: bool = True, everything: bool = False
) -> RetentionResult:
    """Delete what ``plan`` says; with ``dry_run`` (the default) only say what would be deleted.

    One index that cannot be deleted, for example because a snapshot of it is being taken, does not keep the others.
    Every name is dated once more before it is sent, each is sent alone, and none holds a wildcard.

    Raises:
        ConfigError: every dated index would be deleted, as it happens when a clock is wrong, and ``everything`` is not
            set.
    """
    dated = [entry for entry in plan.indices if entry.day is not None]
    if not dry_run and not everything and dated and all(entry.verdict == "delete" for entry in dated):
        raise ConfigError(
            f"all {len(dated)} dated indices would be deleted; the first day to be kept would be {plan.oldest}",
            where=EVENTS,
            hint="Check the date. If this is meant, say so with --everything.",
        )
    result = RetentionResult()
    for index in plan.of("delete"):
        day = day_of(index)
        if day is None or day >= plan.oldest:
            result.failed[index] = "the plan names it, but by its name it is to be kept"
        elif dry_run:
            result.would_delete.append(index)
        else:
            _delete(client, index, result)
    return result


def _delete(client: OpenSearch, index: str, result: RetentionResult) -> None:
    try:
        client.indices.delete(index=index)
    except NotFoundError:
        result.gone.append(index)
    except TransportError as error:
        result.failed[index] = str(error.error)
    else:
        result.deleted.append(index)
