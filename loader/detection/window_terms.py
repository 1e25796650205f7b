"""A correlation's window, from what its rule says: numbers, time spans, the condition that names rules. Pure."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, inf
from typing import Any

from loader.detection.model import CompiledCorrelation, CorrelationRule
from loader.detection.timespan import milliseconds
from loader.detection.window import EXTENSIONS, Expression, Window
from loader.errors import RuleError

_TYPES = (
    "event_count",
    "value_count",
    "value_sum",
    "value_avg",
    "value_percentile",
    "value_median",
    "temporal",
    "temporal_ordered",
    *EXTENSIONS,
)
#: Which part of its baseline a rule must know, unless it says otherwise. With less, all is new and every mean too low.
_WARM_UP = {"new_terms": 0.25, "spike": 0.5}
_DAY_MS = 86_400_000


def window_of(node: CompiledCorrelation) -> Window:
    """Return a correlation's window.

    Raises:
        RuleError: its type or its numbers cannot be honoured.
    """
    kind = node.type.removeprefix("siem_")
    if kind not in _TYPES:
        raise RuleError(f"correlation type {node.type!r} is not known", where=node.rule.where)
    window = Window(
        type=kind,
        span=node.seconds * 1000,
        bounds=dict(node.condition.bounds),
        rules=tuple(node.rules),
        percentile=node.condition.percentile,
        expression=expression_of(node.condition.expression, where=node.rule.where)
        if node.condition.expression is not None
        else None,
        baseline=milliseconds(node.extra.get("baseline", 0), where=node.rule.where),
        minimum=_minimum(node, kind),
        **travel_limits(node.rule) if kind == "impossible_travel" else {},
    )
    window = replace(window, warm_up=_warm_up(node, kind, window.baseline or window.span))
    if kind == "new_terms":
        # Its timespan is the baseline, unless that is named apart: nothing else slides.
        return replace(window, span=0, baseline=window.baseline or window.span)
    if kind == "spike" and window.baseline <= 0:
        raise RuleError(f"{node.type} needs a baseline, like 28d", where=node.rule.where)
    if window.span <= 0:
        raise RuleError(f"{node.type} needs a timespan, like 10m", where=node.rule.where)
    if kind == "temporal_ordered" and window.expression is not None and not window.monotone:
        raise RuleError("an order has no 'not'", where=node.rule.where)
    return window


def _minimum(node: CompiledCorrelation, kind: str) -> int:
    written = node.extra.get("minimum", 10 if kind == "spike" else 1)
    if not isinstance(written, int) or isinstance(written, bool) or written < 1:
        raise RuleError(f"minimum is {written!r}: it must be a whole number above nought", where=node.rule.where)
    return written


def _warm_up(node: CompiledCorrelation, kind: str, baseline: int) -> int:
    """Return ``warmup``; without, the part of the baseline that a comparison needs at least, in whole days."""
    written = node.extra.get("warmup")
    if written is not None:
        return milliseconds(written, where=node.rule.where)
    return ceil(baseline * _WARM_UP.get(kind, 0) / _DAY_MS) * _DAY_MS if baseline >= _DAY_MS else 0


def travel_limits(rule: CorrelationRule) -> dict[str, Any]:
    """Return ``distance_km`` and ``speed_kmh`` of an ``impossible_travel``.

    Raises:
        RuleError: one is missing, or is no number above nought.
    """
    limits: dict[str, Any] = {}
    for name in ("distance_km", "speed_kmh"):
        value = rule.extra.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < inf:
            hint = "500 km and 1,000 km/h are what an airliner's passenger keeps to."
            raise RuleError(f"impossible_travel needs {name}, a number above nought", where=rule.where, hint=hint)
        limits[name] = float(value)
    return limits


def expression_of(text: str, *, where: str) -> Expression:
    """Return an extended temporal condition (``a and (b or not c)``) as a boolean expression.

    Raises:
        RuleError: it is none.
    """
    from sigma.exceptions import SigmaError

    from sigma import correlations as sigma

    names = {
        sigma.CorrelationConditionNOT: "not",
        sigma.CorrelationConditionAND: "and",
        sigma.CorrelationConditionOR: "or",
    }

    def convert(item: Any) -> Expression:
        if isinstance(item, sigma.SigmaRuleReference):
            return ("ref", item.reference)
        return (names[type(item)], *map(convert, item.args))

    try:
        return convert(sigma.SigmaExtendedCorrelationCondition(text).parsed)
    except SigmaError as error:
        hint = "Join names of rules (letters, digits, _) by and, or and not."
        raise RuleError(f"the condition cannot be read: {error.args[0]}", where=where, hint=hint) from None


def references(expression: Expression) -> list[str]:
    """Return the names in an expression, each once, in the order written."""
    kind, *parts = expression
    if kind == "ref":
        return [parts[0]]
    return list(dict.fromkeys(name for part in parts for name in references(part)))
