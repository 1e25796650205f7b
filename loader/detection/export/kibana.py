"""Kibana's Security app: rules as the NDJSON that its import takes.

Fields and their meanings: the API's OpenAPI description (https://www.elastic.co/docs/api/doc/kibana/group/endpoint-security-detections-api).

A rule becomes a ``query`` rule. Its condition is structured DSL inside a filter, not KQL, so it means there what it
means here. Correlations that count become ``threshold`` rules, first appearances ``new_terms`` rules. Kibana's windows
end when a rule runs and do not slide: a threshold counts over the window plus what may be late plus the interval, so it
finds whatever the rule finds, and slower bursts besides. What it cannot find at all is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from loader.detection.alerts import RISK
from loader.detection.attack_names import TECHNIQUE_NAMES
from loader.detection.clauses import any_of
from loader.detection.export.model import Document, Node, UnsaidError, distinct, file_name, one_line
from loader.detection.export.nodes import base_rules, exact_query, monotone_bounds, schema_for
from loader.detection.fields import Field
from loader.detection.model import CompiledCorrelation, CompiledRule, Query, Rule
from loader.detection.timespan import in_words
from loader.detection.window_terms import window_of

__all__ = ["KibanaOptions", "kibana_rule"]

#: What Kibana takes: ``maxItems`` of its API description, and the default of ``xpack.alerting.rules.run.alerts.max``.
_MOST_SUPPRESSED_BY = 3
_MOST_GROUPED_BY = 3
_MOST_NEW_TERMS = 3
_MOST_ALERTS = 1000
_MITRE = "https://attack.mitre.org"

_NOTE_LICENCE = "Folding (alert suppression) needs a Platinum licence; without it every event raises an alert."
_NOTE_MOST = f"A run raises at most {_MOST_ALERTS} alerts; Kibana shows a warning when there would be more."
_NOTE_LATE = "Events that arrive later than {lateness} after their time may be missed."


@dataclass(frozen=True)
class KibanaOptions:
    """``every`` is minutes between runs, ``lateness`` seconds that events may take to arrive."""

    every: int = 5
    lateness: int = 900
    enabled: bool = True


def kibana_rule(node: Node, options: KibanaOptions) -> Document:
    """Return the detection rule, one line of the NDJSON for ``POST /api/detection_engine/rules/_import``.

    Raises:
        UnsaidError: Kibana cannot express it.
    """
    if isinstance(node, CompiledRule):
        return _query(node, options)
    kind = node.type.removeprefix("siem_")
    if kind in ("event_count", "value_count"):
        return _threshold(node, options)
    if kind == "new_terms":
        return _new_terms(node, options)
    raise UnsaidError(_REFUSED.get(kind, f"{node.type} needs sums, which its rules do not keep"), "correlation", "type")


_ORDER = (
    "only its EQL sequences see several kinds of events, and they order events of the same second by chance; CloudTrail"
    " writes whole seconds"
)
_REFUSED = {
    "temporal": _ORDER,
    "temporal_ordered": _ORDER,
    "spike": "spike compares with a baseline, which its rules do not keep (machine learning jobs do)",
    "absence": "absence is about events that do not come; its rules alert on events",
    "impossible_travel": "impossible_travel compares places, which its rules cannot",
}


def _query(rule: CompiledRule, options: KibanaOptions) -> Document:
    reach = options.every * 60 + max(options.lateness, 600)
    notes = [
        f"Looks back {in_words(reach * 1000)} by event.ingested, so late files are seen; an event raises one alert.",
        "A Kibana that was down for longer than it looks back misses what came before.",
        _NOTE_MOST,
    ]
    body = _body(rule.rule, rule, options, exact_query(rule), reach)
    body |= {
        "type": "query",
        "query": "",
        # Documents of this SIEM always have it: without a fallback the server has less to search.
        "timestamp_override": "event.ingested",
        "timestamp_override_fallback_disabled": True,
    }
    suppression, told = _suppression(rule)
    if suppression:
        body["alert_suppression"] = suppression
    return _document(rule.rule, body, [*notes, *told])


def _suppression(rule: CompiledRule) -> tuple[dict[str, Any] | None, list[str]]:
    if rule.rule.suppression is None:
        return None, []
    names = [_mapped(rule, path) for path in rule.suppress_by]
    if not names or None in names or len(names) > _MOST_SUPPRESSED_BY:
        missing = [path for path, name in zip(rule.suppress_by, names, strict=True) if name is None]
        why = f"{', '.join(missing)} is part of a payload, not an indexed field" if missing else "it folds by too much"
        return None, [f"Not folded: {why}. Every event raises an alert."]
    told = f"Folded from the first alert of each {' and '.join(rule.suppress_by)} on, for {_span(rule.rule)}."
    return (
        {
            "group_by": list(rule.suppress_by),
            "duration": _duration(rule.rule.suppression.seconds),
            "missing_fields_strategy": "suppress",
        },
        [told, _NOTE_LICENCE],
    )


def _threshold(node: CompiledCorrelation, options: KibanaOptions) -> Document:
    bases, window = _counted(node), window_of(node)
    bounds = monotone_bounds(window, "Kibana")
    least = max(ceil(bounds.get("gte", 1)), floor(bounds.get("gt", 0)) + 1)
    fields = _fields(bases[0], node.group_by, "group-by")
    if len(fields) > _MOST_GROUPED_BY:
        raise UnsaidError(f"it groups by more than {_MOST_GROUPED_BY} fields", "correlation", "group-by")
    threshold: dict[str, Any] = {"field": fields, "value": least}
    if node.type == "value_count":
        counted = _fields(bases[0], node.condition.fields, "condition")
        if len(counted) != 1:
            reason = "it counts distinct values of several fields together; a threshold counts those of one"
            raise UnsaidError(reason, "correlation", "condition")
        threshold |= {"value": 1, "cardinality": [{"field": counted[0], "value": least}]}
    reach = node.seconds + options.lateness + options.every * 60
    body = _body(node.rule, bases[0], options, _any(bases), reach)
    body |= {"type": "threshold", "query": "", "threshold": threshold}
    if node.rule.suppression is not None:
        body["alert_suppression"] = {"duration": _duration(node.rule.suppression.seconds)}
    notes = [
        f"Counts over the last {in_words(reach * 1000)}; the rule itself over any {in_words(node.seconds * 1000)}.",
        f"Windows end when a rule runs ({in_words(options.every * 60_000)} apart) and leave room for late files.",
        "So it finds all that the rule finds, and slower bursts besides.",
        _NOTE_LATE.format(lateness=in_words(options.lateness * 1000)),
        "An alert holds the group and the count, not the events.",
    ]
    if node.rule.suppression is not None:
        notes.append(_NOTE_LICENCE)
    if node.suppress_by and set(node.suppress_by) != set(node.group_by):
        notes.append("Alerts are folded by the correlation's group-by, not by siem.suppress.by.")
    return _document(node.rule, body, notes)


def _new_terms(node: CompiledCorrelation, options: KibanaOptions) -> Document:
    bases = _counted(node)
    fields = _fields(bases[0], (*node.group_by, *node.condition.fields), "condition")
    if not 1 <= len(fields) <= _MOST_NEW_TERMS:
        raise UnsaidError(f"it is about the first {len(fields)} fields; Kibana takes 1 to 3", "correlation")
    baseline = window_of(node).baseline // 1000
    reach = options.lateness + options.every * 60
    body = _body(node.rule, bases[0], options, _any(bases), reach)
    body |= {
        "type": "new_terms",
        "query": "",
        "new_terms_fields": fields,
        "history_window_start": f"now-{baseline + reach}s",
    }
    notes = [
        f"Reads the baseline of {in_words(baseline * 1000)} anew in each run.",
        _NOTE_LATE.format(lateness=in_words(options.lateness * 1000)),
    ]
    return _document(node.rule, body, notes)


def _counted(node: CompiledCorrelation) -> list[CompiledRule]:
    if node.aliases:
        reason = "its aliases read the group from another field in each base rule; Kibana groups by one"
        raise UnsaidError(reason, "correlation", "aliases")
    if node.condition.expression is not None:
        raise UnsaidError("conditions that name rules are not exported", "correlation", "condition")
    return base_rules(node, "Kibana")


def _any(bases: list[CompiledRule]) -> Query:
    return any_of([exact_query(base) for base in bases])


def _fields(rule: CompiledRule, paths: tuple[str, ...], part: str) -> list[str]:
    for path in paths:
        if _mapped(rule, path) is None:
            reason = f"{path} is part of a payload: Kibana groups and counts by indexed fields"
            raise UnsaidError(reason, "correlation", part)
    return list(paths)


def _mapped(rule: CompiledRule, path: str) -> str | None:
    found = schema_for(rule).fields.get(path)
    return path if isinstance(found, Field) and found.kind not in ("text", "other") else None


def _body(rule: Rule, base: CompiledRule, options: KibanaOptions, query: Query, reach: int) -> dict[str, Any]:
    """Return what all the rule types have in common. ``reach`` is how many seconds a run looks back."""
    body: dict[str, Any] = {
        "rule_id": rule.uuid,
        "version": 1,
        "name": one_line(rule.title),
        "description": one_line(rule.description) or one_line(rule.title),
        "severity": "low" if rule.level == "informational" else rule.level,
        "risk_score": int(RISK[rule.level]),
        "enabled": options.enabled,
        "interval": f"{options.every}m",
        "from": f"now-{reach}s",
        "to": "now",
        "index": [base.index],
        "language": "kuery",
        "filters": [_filter(query)],
        "max_signals": _MOST_ALERTS,
        "tags": list(rule.tags),
        "threat": _threats(rule),
        "references": list(rule.references),
        "false_positives": [one_line(one) for one in rule.falsepositives],
        "author": [rule.author] if rule.author else [],
        "license": rule.license,
    }
    shown = [path for path in base.fields if _mapped(base, path)]
    return body | ({"investigation_fields": {"field_names": shown}} if shown else {})


def _filter(query: Query) -> dict[str, Any]:
    """Return DSL as Kibana's own "Edit as Query DSL" stores it. Without ``key`` no index pattern can switch it off."""
    meta = {"alias": "cloudtrail-siem", "disabled": False, "negate": False, "type": "custom"}
    return {"$state": {"store": "appState"}, "meta": meta, "query": query}


def _threats(rule: Rule) -> list[dict[str, Any]]:
    """Return ATT&CK as Kibana has it, techniques below tactics.

    Sigma's tags do not say which technique serves which tactic, so each tactic gets them all: Kibana's coverage page
    shows only the pairs that ATT&CK knows.
    """
    techniques: dict[str, list[str]] = {}
    for one in rule.threat.techniques:
        techniques.setdefault(one.id, []).extend([one.subtechnique] if one.subtechnique else [])
    named = [
        {**_technique(number), "subtechnique": [_technique(below) for below in dict.fromkeys(narrower)]}
        for number, narrower in techniques.items()
    ]
    return [
        {
            "framework": "MITRE ATT&CK",
            "tactic": {"id": one.id, "name": one.name, "reference": f"{_MITRE}/tactics/{one.id}/"},
            "technique": named,
        }
        for one in rule.threat.tactics
    ]


def _technique(number: str) -> dict[str, str]:
    reference = f"{_MITRE}/techniques/{number.replace('.', '/')}/"
    return {"id": number, "name": TECHNIQUE_NAMES.get(number, number), "reference": reference}


def _document(rule: Rule, body: dict[str, Any], notes: list[str]) -> Document:
    notes = list(distinct(notes))
    if rule.level == "informational":
        notes.append("Kibana's lowest severity is low.")
    told = ["## Where Kibana's version of this rule differs", *(f"- {_markdown(note)}" for note in notes)]
    if rule.runbook:
        told = ["## What to do", _markdown(rule.runbook), *told]
    if rule.blind_spots:
        told += ["## What this rule cannot see", *(f"- {_markdown(spot)}" for spot in rule.blind_spots)]
    return Document(file_name(rule, "ndjson"), {**body, "note": "\n\n".join(told)}, rule, tuple(notes))


def _markdown(text: str) -> str:
    """Return text that Markdown, and Kibana's plugins of it (``!{investigate{…}}``), show as it is, on one line."""
    return re.sub(r"([\\`*_<>\[\]{}!|#~])", r"\\\1", one_line(text))


def _span(rule: Rule) -> str:
    return in_words(rule.suppression.seconds * 1000) if rule.suppression else ""


def _duration(seconds: int) -> dict[str, Any]:
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return {"value": seconds // size, "unit": unit}
    return {"value": seconds, "unit": "s"}
