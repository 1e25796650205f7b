"""CloudWatch Logs Insights: rules as queries over the log group that a trail writes to.

With a role they are scheduled queries (``CreateScheduledQuery``), whose offsets are the time bound; without one they
are what ``StartQuery`` takes besides the start and the end. A run of a rule examines the interval that ended
``lateness`` ago, so runs of one interval examine every event once.

Counting correlations count over the whole range of a query: the timespan and the interval. A ``bin`` would cut bursts
in two; this way all are found, and slower ones besides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from typing import Any

import orjson

from loader.detection.cases import read_cases
from loader.detection.export.insights_ql import Filters, quoted
from loader.detection.export.model import Document, Node, UnsaidError, distinct, file_name, one_line
from loader.detection.export.nodes import base_rules, monotone_bounds, schema_for
from loader.detection.fields import sigma_names, snake
from loader.detection.model import CompiledCorrelation, CompiledRule, Rule
from loader.detection.timespan import in_words
from loader.detection.window_terms import window_of
from loader.errors import RuleError

__all__ = ["InsightsOptions", "insights_query"]

#: ``queryString`` of StartQuery and CreateScheduledQuery; the rows a query returns.
_LONGEST = 10_000
_ROWS = 10_000
_COUNTED = ("event_count", "value_count")
_NOTE_TIME = "Start {start} before the run, end {end} before it; run it every {every}: then each event is seen once."
_NOTE_LATE = "Events that arrive later than {lateness} after their time are missed."
_NOTE_FIELDS = (
    "CloudWatch finds 200 fields of a record by itself; what a longer record holds beyond them is not compared."
)
_NOTE_OBJECT = "Whether a payload's key is there is seen only where its value is no object, list or null."
_NOTE_LISTS = "Members of lists are numbered fields there: were a key on the way a list, it would not be found."


@dataclass(frozen=True)
class InsightsOptions:
    """``every`` is minutes between runs, ``lateness`` seconds; ``role`` the ARN that scheduled queries run with.

    Raises:
        ValueError: at construction, when no schedule runs every so many minutes.
    """

    log_groups: tuple[str, ...] = ()
    every: int = 60
    lateness: int = 900
    role: str | None = None
    enabled: bool = True

    def __post_init__(self) -> None:
        if self.role and 60 % self.every and (self.every % 60 or 24 % (self.every // 60)):
            raise ValueError(f"no schedule runs every {self.every} minutes: take a part of an hour, or hours of a day")

    @property
    def schedule(self) -> str:
        """Return the cron expression, in UTC."""
        if self.every < 60:
            return f"cron(0/{self.every} * * * ? *)"
        hours = self.every // 60
        return "cron(0 * * * ? *)" if hours == 1 else f"cron(0 {f'0/{hours}' if hours < 24 else '0'} * * ? *)"


def insights_query(node: Node, options: InsightsOptions) -> Document:
    """Return the query of a rule or correlation.

    Raises:
        UnsaidError: the query language cannot express it.
    """
    if isinstance(node, CompiledRule):
        return _rule(node, options)
    return _correlation(node, options)


def _rule(rule: CompiledRule, options: InsightsOptions) -> Document:
    condition = _filter(rule)
    fields = [_name(rule, path) for path in rule.suppress_by]
    lines = [f"filter {condition}"]
    if fields:
        lines.append(
            "stats count_distinct(eventID) as events, min(@timestamp) as first_event, max(@timestamp) as last_event,"
            f" latest(eventID) as last_id by {', '.join(fields)}"
        )
    else:
        lines += ["fields @timestamp, eventID, eventSource, eventName, userIdentity.arn", "sort @timestamp asc"]
    return _document(rule.rule, lines, options.every * 60, condition, options, [])


def _correlation(node: CompiledCorrelation, options: InsightsOptions) -> Document:
    kind = node.type.removeprefix("siem_")
    if kind not in _COUNTED:
        reason = f"{node.type} needs more than one pass over the events; it counts in one"
        raise UnsaidError(reason, "correlation", "type")
    if node.aliases:
        raise UnsaidError("its aliases read the group from several fields", "correlation", "aliases")
    bases = base_rules(node, "a query")
    bounds = monotone_bounds(window_of(node), "a query")
    least = max(ceil(bounds.get("gte", 1)), floor(bounds.get("gt", 0)) + 1)
    conditions = [_base_filter(base) for base in bases]
    condition = f"({' or '.join(conditions)})" if len(conditions) > 1 else conditions[0]
    groups = [_name(bases[0], path) for path in node.group_by]
    # An event without a group's field is in no group.
    lines = [f"filter {' and '.join([condition, *(f'ispresent({one})' for one in groups)])}"]
    counted, more = "eventID", []
    if kind == "value_count":
        names = [_name(bases[0], path) for path in node.condition.fields]
        counted = names[0]
        if len(names) > 1:
            separated = ', " ", '.join(names)
            lines.append(f"fields concat({separated}) as counted")
            counted = "counted"
        more = ["Distinct values are estimated where there are very many."]
    by = f" by {', '.join(groups)}" if groups else ""
    lines.append(
        f"stats count_distinct({counted}) as measure, count_distinct(eventID) as events,"
        f" min(@timestamp) as first_event, max(@timestamp) as last_event{by}"
    )
    lines.append(f"filter measure >= {least}")
    reach = node.seconds + options.every * 60
    more += [
        f"Counts over the whole range ({in_words(reach * 1000)}); the rule over any {in_words(node.seconds * 1000)}.",
        "So it finds all that the rule finds, and slower bursts besides; a burst may be found by two runs.",
    ]
    return _document(node.rule, lines, reach, condition, options, more)


def _filter(rule: CompiledRule) -> str:
    query = rule.query if rule.verify is None else rule.verify
    written = dict(_written(rule))
    lists = frozenset(path for path in written if _is_structured(rule.rule, written[path]))
    try:
        return Filters(schema_for(rule), written, lists).ql(query)
    except UnsaidError as error:
        raise UnsaidError(error.reason, "detection", hint="Run it with siem detect.") from None


def _base_filter(base: CompiledRule) -> str:
    try:
        return _filter(base)
    except UnsaidError as error:
        raise UnsaidError(f"its base rule {base.rule.name}: {error.reason}", "correlation", "rules") from None


def _name(rule: CompiledRule, path: str) -> str:
    """Return a path of ``_source`` as a field of the record, for grouping and counting."""
    schema = schema_for(rule)
    payloads = schema.source.payloads
    name = sigma_names(schema.source).get(path)
    if name is None and payloads and path.startswith(payloads.stored + "."):
        root, _, rest = path[len(payloads.stored) + 1 :].partition(".")
        name = next((f"{one}.{rest}" for one in payloads.roots if snake(one) == root and rest), None)
    if name is None or name.startswith("resources."):
        raise UnsaidError(f"{path} is no field of the records")
    if _is_structured(rule.rule, name):
        raise UnsaidError(f"{name} leads through a list, whose members are numbered there (….0.…)")
    return quoted(name)


def _written(rule: CompiledRule) -> Iterator[tuple[str, str]]:
    """Yield the fields that a rule and its filters name: in lower case, and as they are written."""
    parts: list[Any] = [rule.rule.content.get("detection")]
    parts += [one.filter.content.get("filter") for one in rule.filters]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        elif isinstance(part, Mapping):
            for key, value in part.items():
                name, _, modifiers = str(key).partition("|")
                yield name.lower(), name
                if "fieldref" in modifiers:
                    yield from ((str(one).lower(), str(one)) for one in (value if isinstance(value, list) else [value]))
                parts.append(value)


def _is_structured(rule: Rule, path: str) -> bool:
    """Say whether the rule's own test events have a list on the way along ``path``, or an object or list at its end."""
    return any(_has_structure(record, path.split(".")) for record in _records(rule))


@lru_cache(maxsize=1024)
def _records(rule: Rule) -> tuple[Any, ...]:
    try:
        cases = read_cases(rule)
    except RuleError:
        return ()
    return tuple(orjson.loads(raw) for history in (*cases.match, *cases.near_miss) for raw in history)


def _has_structure(node: Any, keys: list[str]) -> bool:
    if isinstance(node, list):
        return True
    if not keys:
        return isinstance(node, Mapping)
    return isinstance(node, Mapping) and _has_structure(node.get(keys[0]), keys[1:])


def _document(
    rule: Rule, lines: list[str], reach: int, condition: str, options: InsightsOptions, more: list[str]
) -> Document:
    text = "\n| ".join([*lines, f"limit {_ROWS}"])
    if len(text) > _LONGEST:
        raise UnsaidError(f"the query has {len(text)} characters; CloudWatch takes {_LONGEST}")
    start, end = reach + options.lateness, options.lateness
    words = {"start": in_words(start * 1000), "end": in_words(end * 1000), "every": in_words(options.every * 60_000)}
    notes = [_NOTE_TIME.format(**words), _NOTE_LATE.format(lateness=words["end"]), *more, _NOTE_FIELDS]
    if any(root in condition for root in ("requestParameters.", "responseElements.", "additionalEventData.")):
        notes += [_NOTE_OBJECT, _NOTE_LISTS]
    body: dict[str, Any] = {"queryLanguage": "CWLI", "queryString": text}
    if options.role is None:
        return Document(
            file_name(rule, "query.json"), {**body, "logGroupNames": list(options.log_groups)}, rule, distinct(notes)
        )
    body |= {
        "name": file_name(rule, "")[:-1],
        "description": one_line(f"{rule.title} ({rule.level}), id {rule.uuid}")[:1024],
        "logGroupIdentifiers": list(options.log_groups),
        "scheduleExpression": options.schedule,
        "timezone": "UTC",
        "startTimeOffset": start,
        "endTimeOffset": end,
        "executionRoleArn": options.role,
        "state": "ENABLED" if options.enabled else "DISABLED",
    }
    return Document(file_name(rule, "schedule.json"), body, rule, distinct(notes))
