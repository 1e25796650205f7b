"""OpenSearch Alerting: rules as monitors (https://docs.opensearch.org/latest/observing-your-data/alerting/api/).

A rule becomes a bucket-level monitor grouped by its ``suppress.by``: one alert a group, which stays active as long as
the group has a match in the look-back, so suppression and look-back are the same thing. Its range is over
``event.ingested``: files that arrive late are seen, and a cluster that was down for less than the look-back misses
nothing. Rules without suppression become query-level monitors: one alert in all.

Correlations become bucket-level monitors whose window slides in event time inside the server (:mod:`.painless`), over a
range that reaches back further than the window by the lateness that is to be waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loader.detection.export.model import Document, Node, UnsaidError, distinct, file_name, one_line
from loader.detection.export.mustache import without_tags
from loader.detection.export.nodes import base_rules, exact_query, monotone_bounds, schema_for
from loader.detection.export.painless import MOST_RULES, Column, group_source, sliding
from loader.detection.model import CompiledCorrelation, CompiledRule, Query, Rule
from loader.detection.timespan import in_words
from loader.detection.window_terms import window_of

__all__ = ["AlertingOptions", "alerting_monitor"]

_SEVERITY = {"critical": "1", "high": "2", "medium": "3", "low": "4", "informational": "5"}
#: What Alerting takes: https://docs.opensearch.org/latest/observing-your-data/alerting/settings/
_PAGE = 1000
_ABSENT = "(none)"
#: Throttles longer than a day are refused.
_LONGEST_THROTTLE = 1440
_COUNTED = ("event_count", "value_count", "temporal", "temporal_ordered")
_NOTE_DOWN = (
    "A run that is missed is not made up: what is older than the look-back when the cluster comes back is lost."
)
_NOTE_LATE = "Events that arrive later than {lateness} after their time may be missed."


@dataclass(frozen=True)
class AlertingOptions:
    """``every`` is minutes between runs, ``lateness`` seconds; ``channel`` the id of a notification channel."""

    every: int = 1
    lateness: int = 3600
    channel: str | None = None
    enabled: bool = True


def alerting_monitor(node: Node, options: AlertingOptions) -> Document:
    """Return the monitor of a rule or correlation, as ``POST /_plugins/_alerting/monitors`` takes it.

    Raises:
        UnsaidError: Alerting cannot express it.
    """
    if isinstance(node, CompiledCorrelation):
        return _correlation(node, options)
    return _rule(node, options)


def _rule(rule: CompiledRule, options: AlertingOptions) -> Document:
    query = _exact(rule)
    suppression = rule.rule.suppression
    lookback = max(suppression.seconds if suppression else 0, 10 * 60, 2 * options.every * 60)
    bounded = _bounded("event.ingested", lookback, query)
    notes = [_NOTE_DOWN]
    if not rule.suppress_by:
        notes.append(
            "One alert in all, active while the look-back holds a match: single events raise none of their own."
        )
        body: dict[str, Any] = {"size": 10, "track_total_hits": True, "query": bounded}
        return _document(rule.rule, _query_level(rule.rule, rule.index, body, options), notes)
    notes.append(
        f"One alert for each {' and '.join(rule.suppress_by)}: active while the last {in_words(lookback * 1000)} hold a"
        " match, so each further match prolongs it, where siem detect begins a new alert."
    )
    composite = {"composite": {"size": _PAGE, "sources": _sources(rule, rule.suppress_by, absent=_ABSENT)}}
    body = {"size": 0, "query": bounded, "aggregations": {"composite_agg": composite}}
    return _document(rule.rule, _bucket_level(rule.rule, rule.index, body, options), notes)


def _correlation(node: CompiledCorrelation, options: AlertingOptions) -> Document:
    kind = node.type.removeprefix("siem_")
    bases = _bases(node)
    if node.aliases:
        raise UnsaidError(
            "its aliases read the group from another field in each base rule; a monitor groups by one",
            "correlation", "aliases",
        )  # fmt: skip
    if kind == "new_terms":
        return _new_terms(node, bases, options)
    if kind not in _COUNTED:
        raise UnsaidError(f"{node.type} needs a baseline or sums, which a monitor does not keep", "correlation", "type")
    if node.condition.expression is not None:
        raise UnsaidError("conditions that name rules are not exported", "correlation", "condition")
    window = window_of(node)
    bounds = monotone_bounds(window, "a monitor") or {"gte": float(len(bases))}
    suppression = node.rule.suppression
    lookback = max(node.seconds + options.lateness, suppression.seconds if suppression else 0)
    query = _bounded("@timestamp", lookback, None, scored=_scored(bases))
    fields = node.condition.fields if kind == "value_count" else ()
    counted = [Column.of(path, schema_for(bases[0])) for path in fields]
    aggregations = {
        "sliding": sliding(kind, window.span, bounds, counted, len(bases)),
        "fires": {"bucket_selector": {"buckets_path": {"fired": "sliding.value"}, "script": "params.fired > 0"}},
    }
    body = _grouped(bases[0], query, node.group_by, aggregations)
    notes = [_NOTE_DOWN, _NOTE_LATE.format(lateness=in_words(options.lateness * 1000)), *_folding(node, lookback)]
    return _document(node.rule, _bucket_level(node.rule, bases[0].index, body, options), notes)


def _new_terms(node: CompiledCorrelation, bases: list[CompiledRule], options: AlertingOptions) -> Document:
    if len(bases) != 1:
        raise UnsaidError("new_terms over several base rules is not exported", "correlation", "rules")
    baseline = window_of(node).baseline // 1000
    every = max(options.every, 15)
    fresh = options.lateness + every * 60
    query = _bounded("@timestamp", baseline + fresh, _exact(bases[0]))
    aggregations = {
        "first": {"min": {"field": "@timestamp"}},
        "fires": {
            "bucket_selector": {
                "buckets_path": {"first": "first"},
                "script": {
                    "lang": "painless",
                    "source": "params.first >= Long.parseLong(params.end) - params.fresh",
                    "params": {"end": "{{period_end}}", "fresh": fresh * 1000},
                },
            }
        },
    }
    body = _grouped(bases[0], query, (*node.group_by, *node.condition.fields), aggregations)
    notes = [
        _NOTE_DOWN,
        _NOTE_LATE.format(lateness=in_words(options.lateness * 1000)),
        f"Reads the baseline of {in_words(baseline * 1000)} anew in each run, so it runs every {every} minutes.",
        "What was last seen between the baseline's beginning and the lateness before it does not count as new.",
    ]
    monitor = _bucket_level(node.rule, bases[0].index, body, options)
    monitor["schedule"]["period"]["interval"] = every
    return _document(node.rule, monitor, notes)


def _bases(node: CompiledCorrelation) -> list[CompiledRule]:
    bases = base_rules(node, "a monitor")
    if len(bases) > MOST_RULES:
        raise UnsaidError(f"it has more than {MOST_RULES} base rules", "correlation", "rules")
    return bases


def _exact(rule: CompiledRule) -> Query:
    return without_tags(exact_query(rule))


def _scored(bases: list[CompiledRule]) -> Query:
    """Return the query whose score says which base rules matched: one bit each."""
    options = [
        {"constant_score": {"filter": _exact(base), "boost": float(2**position)}} for position, base in enumerate(bases)
    ]
    return {"bool": {"should": options, "minimum_should_match": 1}}


def _bounded(field: str, seconds: int, query: Query | None, *, scored: Query | None = None) -> Query:
    period = {"gte": "{{period_end}}||-" + f"{seconds}s", "lte": "{{period_end}}", "format": "epoch_millis"}
    wanted = [{"range": {field: period}}, *([query] if query else [])]
    return {"bool": {"filter": wanted, **({"must": [scored]} if scored else {})}}


def _sources(rule: CompiledRule, paths: tuple[str, ...], *, absent: str | None) -> list[dict[str, Any]]:
    # Names without dots: a bucket's key becomes part of the alert, where dots are paths.
    schema = schema_for(rule)
    return [{path.replace(".", "_"): group_source(Column.of(path, schema), absent=absent)} for path in paths]


def _grouped(rule: CompiledRule, query: Query, paths: tuple[str, ...], aggregations: dict[str, Any]) -> dict[str, Any]:
    # Without group-by all events are one group: a source that gives every event the same key.
    everything = [{"all": group_source(Column("-", indexed=False), absent="all")}]
    sources = _sources(rule, paths, absent=None) if paths else everything
    composite = {"composite": {"size": _PAGE, "sources": sources}, "aggregations": aggregations}
    return {"size": 0, "query": query, "aggregations": {"composite_agg": composite}}


def _folding(node: CompiledCorrelation, lookback: int) -> list[str]:
    notes = [
        f"An alert stays active for {in_words(lookback * 1000)} after the window that raised it, then ends by itself."
    ]
    if node.suppress_by and set(node.suppress_by) != set(node.group_by):
        notes.append("Alerts are folded by the correlation's group-by, not by siem.suppress.by.")
    return notes


def _query_level(rule: Rule, index: str, body: dict[str, Any], options: AlertingOptions) -> dict[str, Any]:
    condition = {"script": {"source": "ctx.results[0].hits.total.value > 0", "lang": "painless"}}
    trigger = {**_trigger(rule, options), "condition": condition}
    return _monitor(rule, index, body, "query_level_monitor", {"query_level_trigger": trigger}, options)


def _bucket_level(rule: Rule, index: str, body: dict[str, Any], options: AlertingOptions) -> dict[str, Any]:
    condition = {
        "buckets_path": {"_count": "_count"},
        "parent_bucket_path": "composite_agg",
        "script": {"source": "params._count > 0", "lang": "painless"},
    }
    trigger = {**_trigger(rule, options), "condition": condition}
    return _monitor(rule, index, body, "bucket_level_monitor", {"bucket_level_trigger": trigger}, options)


def _trigger(rule: Rule, options: AlertingOptions) -> dict[str, Any]:
    actions = []
    if options.channel:
        seconds = rule.suppression.seconds if rule.suppression else 3600
        actions.append(
            {
                "name": "notify",
                "destination_id": options.channel,
                # Nothing of the rule or an event is part of the template; both arrive as values.
                "subject_template": {"lang": "mustache", "source": "{{ctx.monitor.name}}"},
                "message_template": {"lang": "mustache", "source": _MESSAGE},
                "throttle_enabled": True,
                "throttle": {"value": min(max(seconds // 60, 1), _LONGEST_THROTTLE), "unit": "MINUTES"},
            }
        )
    return {"name": one_line(rule.title), "severity": _SEVERITY[rule.level], "actions": actions}


_MESSAGE = (
    "{{ctx.monitor.name}}\nSeverity {{ctx.trigger.severity}}, from {{ctx.periodStart}} to {{ctx.periodEnd}}.\n"
    "{{#ctx.newAlerts}}{{bucket_keys}}\n{{/ctx.newAlerts}}"
)


def _monitor(
    rule: Rule, index: str, body: dict[str, Any], kind: str, trigger: dict[str, Any], options: AlertingOptions
) -> dict[str, Any]:
    return {
        "type": "monitor",
        # By the id it is found again: Alerting lets two monitors have one name.
        "name": f"{one_line(rule.title)} [{rule.uuid}]",
        "monitor_type": kind,
        "enabled": options.enabled,
        "schedule": {"period": {"interval": options.every, "unit": "MINUTES"}},
        "inputs": [{"search": {"indices": [index], "query": body}}],
        "triggers": [trigger],
    }


def _document(rule: Rule, monitor: dict[str, Any], notes: list[str]) -> Document:
    return Document(file_name(rule, "monitor.json"), monitor, rule, distinct(notes))
