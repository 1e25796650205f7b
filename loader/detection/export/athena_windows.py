"""Correlations as SQL: sliding windows in event time, ties included, as :mod:`loader.detection.window` has them.

``RANGE BETWEEN x PRECEDING AND CURRENT ROW`` over milliseconds is the closed window [t - x, t] with all events of the
same moment in it. Every statement has the parts ``matched`` (each event of a base rule once a group and value),
``measured`` (what its window holds) and a row for each group that fired in the period.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loader.detection.export.athena_period import TIME, AthenaOptions
from loader.detection.export.athena_table import stored_column
from loader.detection.export.model import UnsaidError, number
from loader.detection.export.nodes import monotone_bounds, schema_for
from loader.detection.export.sql import Conditions, identifier
from loader.detection.model import CompiledCorrelation, CompiledRule
from loader.detection.timespan import in_words
from loader.detection.window import Expression, Window
from loader.detection.window_terms import window_of

_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "=", "neq": "<>"}
_REFUSED = {
    "impossible_travel": "impossible_travel needs to know where addresses are, which Athena does not",
    "value_avg": "averages over events without a value are not exact there",
    "value_percentile": "percentiles over a sliding window are not exact there",
    "value_median": "medians over a sliding window are not exact there",
}


def windowed(node: CompiledCorrelation, period: AthenaOptions) -> tuple[str, list[str]]:
    """Return the statement of a correlation, and what is to be said about it.

    Raises:
        UnsaidError: it cannot be said exactly.
    """
    parts = _parts(node, period, 0, "")
    groups = [f"g{position} AS {identifier(name)}" for position, name in enumerate(node.group_by)]
    groups = groups or ["'all' AS everything"]
    columns = [
        *groups,
        "count(DISTINCT id) AS events",
        "from_unixtime(min(fired) / 1000e0) AS first_fired",
        "from_unixtime(max(fired) / 1000e0) AS last_fired",
        "max(measure) AS measure",
        "array_agg(DISTINCT id) AS event_ids",
    ]
    statement = (
        f"WITH {', '.join(parts)}\nSELECT\n  {', '.join(columns)}\nFROM measured\n"
        f"WHERE holds AND fired >= {period.begins()} AND fired < {period.ends()}\n"
        f"GROUP BY {', '.join(str(position + 1) for position in range(len(groups)))}"
    )
    notes = []
    if baseline := window_of(node).baseline:
        notes.append(f"Each run reads {in_words(baseline)} of files: Athena charges by what it reads.")
    if node.suppress_by and set(node.suppress_by) != set(node.group_by):
        notes.append("Rows are by the correlation's group-by, not by siem.suppress.by.")
    return statement, notes


def _parts(node: CompiledCorrelation, period: AthenaOptions, above: int, prefix: str) -> list[str]:
    """Return the CTEs of a correlation, those of the ones below it first; the last is ``<prefix>measured``.

    ``above`` is how many milliseconds before the period its triggers matter to the correlation above it.
    """
    kind = node.type.removeprefix("siem_")
    if kind in _REFUSED:
        raise UnsaidError(_REFUSED[kind], "correlation", "type")
    window = window_of(node)
    if window.delay and prefix:
        raise UnsaidError("it counts absences, which are told after their time", "correlation", "rules")
    back = above + window.lookback
    parts = []
    for at, child in enumerate(node.rules.values()):
        if isinstance(child, CompiledCorrelation):
            parts += _parts(child, period, back, f"{prefix}r{at}_")
    over = _over([f"g{position}" for position in range(len(node.group_by))])
    matched = _matched(node, kind, period, back, prefix)
    return [*parts, f"{prefix}matched AS (\n{matched}\n)", *_MEASURES[kind](node, window, over, prefix)]


def _over(groups: Sequence[str]) -> str:
    return f"PARTITION BY {', '.join(groups)} ORDER BY t" if groups else "ORDER BY t"


def _within(over: str, span: int) -> str:
    return f"({over} RANGE BETWEEN {span} PRECEDING AND CURRENT ROW)"


# --- which events -------------------------------------------------------------------------------------------------


def _matched(node: CompiledCorrelation, kind: str, period: AthenaOptions, back: int, prefix: str) -> str:
    """Return the events of the base rules, each once for a group, a value and, where it matters, a base rule."""
    counted = node.condition.fields if kind in ("value_count", "value_sum", "new_terms") else ()
    names = {f"g{position}": name for position, name in enumerate(node.group_by)}
    names |= {f"v{position}": name for position, name in enumerate(counted)}
    kept = ["t", "id", *names, *(["rule"] if kind in ("temporal", "temporal_ordered") else [])]
    rules = {at: (name, rule) for at, (name, rule) in enumerate(node.rules.items()) if isinstance(rule, CompiledRule)}
    sources = [_scanned(node, rules, names, kept, period, back)] if rules else []
    for at, (reference, child) in enumerate(node.rules.items()):
        if isinstance(child, CompiledCorrelation):
            sources.append(_triggers(node, child, reference, at, names, kept, f"{prefix}r{at}_"))
    return "\n  UNION\n".join(sources)


def _scanned(
    node: CompiledCorrelation,
    rules: Mapping[int, tuple[str, CompiledRule]],
    names: Mapping[str, str],
    kept: Sequence[str],
    period: AthenaOptions,
    back: int,
) -> str:
    tests = "\n".join(f"    WHEN {at} THEN {_condition(rule)}" for at, (_, rule) in rules.items())
    columns = {
        column: _by_rule({at: _values(rule, _named(node, reference, name)) for at, (reference, rule) in rules.items()})
        for column, name in names.items()
    }
    inner = [f"{TIME} AS t", "eventid AS id", "b.rule AS rule"]
    inner += [f"{arrays} AS {column}_all" for column, arrays in columns.items()]
    unnested = "".join(f"\n  CROSS JOIN UNNEST({column}_all) AS u_{column}({column})" for column in columns)
    present = " AND ".join(f"{column} IS NOT NULL" for column in columns)
    return (
        f"  SELECT DISTINCT {', '.join(kept)}\n  FROM (\n  SELECT {', '.join(inner)}\n"
        f"  FROM {period.table.qualified} CROSS JOIN UNNEST(ARRAY[{', '.join(map(str, rules))}]) AS b(rule)\n"
        f"  WHERE {period.scanned(back)}\n  AND CASE b.rule\n{tests}\n    ELSE FALSE END\n  ) AS found"
        f"{unnested}" + (f"\n  WHERE {present}" if present else "")
    )


def _triggers(
    node: CompiledCorrelation,
    child: CompiledCorrelation,
    reference: str,
    at: int,
    names: Mapping[str, str],
    kept: Sequence[str],
    prefix: str,
) -> str:
    """Return what a correlation below raises, as events of this one."""
    columns = {"t": "fired AS t", "id": "id", "rule": f"{at} AS rule"}
    for column, name in names.items():
        path = _named(node, reference, name)
        if path not in child.group_by:
            reason = f"it groups or counts by {path}, which {reference} does not group by"
            raise UnsaidError(reason, "correlation", "rules")
        columns[column] = f"g{child.group_by.index(path)} AS {column}"
    return f"  SELECT DISTINCT {', '.join(columns[name] for name in kept)} FROM {prefix}measured WHERE holds"


def _condition(base: CompiledRule) -> str:
    try:
        return Conditions(schema_for(base)).sql(base.query if base.verify is None else base.verify)
    except UnsaidError as error:
        raise UnsaidError(f"its base rule {base.rule.name}: {error.reason}", "correlation", "rules") from None


def _named(node: CompiledCorrelation, reference: str, name: str) -> str:
    path = node.aliases[name].get(reference, "") if name in node.aliases else name
    if not path:
        raise UnsaidError(f"its alias {name} says nothing about {reference}", "correlation", "aliases")
    return path


def _values(base: CompiledRule, path: str) -> str:
    return f"array_distinct({stored_column(schema_for(base), path).as_array()})"


def _by_rule(arrays: Mapping[int, str]) -> str:
    if len(set(arrays.values())) == 1:
        return next(iter(arrays.values()))
    return "CASE b.rule " + " ".join(f"WHEN {at} THEN {array}" for at, array in arrays.items()) + " END"


# --- what a window holds ------------------------------------------------------------------------------------------


def _bounds(bounds: Mapping[str, float], otherwise: float | None = None) -> str:
    known = dict(bounds) or ({"gte": otherwise} if otherwise is not None else {})
    return " AND ".join(f"measure {_SIGNS[name]} {number(bound)}" for name, bound in known.items()) or "TRUE"


def _measured(measure: str, holds: str, prefix: str, *, source: str = "matched", fired: str = "t") -> str:
    """Return the CTE with the columns fired, measure and holds."""
    return (
        f"{prefix}measured AS (\n  SELECT *, {holds} AS holds FROM (\n"
        f"  SELECT *, {fired} AS fired, {measure} AS measure FROM {prefix}{source}\n  ) AS windows\n)"
    )


def _event_count(_node: CompiledCorrelation, window: Window, over: str, prefix: str) -> list[str]:
    return [_measured(f"count(*) OVER {_within(over, window.span)}", _bounds(window.bounds, 1), prefix)]


def _value_count(node: CompiledCorrelation, window: Window, over: str, prefix: str) -> list[str]:
    # An event without a value counts nothing and is left out; it could fire only where a count must not be reached.
    bounds = monotone_bounds(window, "a row")
    columns = [f"v{position}" for position in range(len(node.condition.fields))]
    value = columns[0] if len(columns) == 1 else f"json_format(CAST(ARRAY[{', '.join(columns)}] AS JSON))"
    inside = f"array_agg({value}) OVER {_within(over, window.span)}"
    return [_measured(f"cardinality(array_distinct({inside}))", _bounds(bounds, 1), prefix)]


def _value_sum(node: CompiledCorrelation, window: Window, over: str, prefix: str) -> list[str]:
    bounds = monotone_bounds(window, "a row")
    if len(node.condition.fields) != 1:
        raise UnsaidError("it adds up several fields", "correlation", "condition")
    return [_measured(f"sum(try_cast(v0 AS DOUBLE)) OVER {_within(over, window.span)}", _bounds(bounds), prefix)]


def _temporal(node: CompiledCorrelation, window: Window, over: str, prefix: str) -> list[str]:
    within = _within(over, window.span)
    flags = {
        reference: f"max(CASE WHEN rule = {at} THEN 1 ELSE 0 END) OVER {within}"
        for at, reference in enumerate(node.rules)
    }
    if window.expression is not None:
        holds = _expression(window.expression, {name: f"({flag}) = 1" for name, flag in flags.items()})
        return [_measured(f"CASE WHEN {holds} THEN 1 ELSE 0 END", "measure = 1", prefix)]
    return [_measured(" + ".join(flags.values()), _bounds(window.bounds, len(flags)), prefix)]


def _expression(expression: Expression, flags: Mapping[str, str]) -> str:
    kind, *parts = expression
    if kind == "ref":
        return flags[parts[0]]
    if kind == "not":
        return f"NOT ({_expression(parts[0], flags)})"
    return "(" + f" {kind.upper()} ".join(_expression(part, flags) for part in parts) + ")"


def _temporal_ordered(node: CompiledCorrelation, window: Window, over: str, prefix: str) -> list[str]:
    steps = len(node.rules)
    if window.expression is not None or dict(window.bounds or {"gte": steps}) != {"gte": steps}:
        raise UnsaidError("only an order of all its rules is exported", "correlation", "condition")
    # s<n> is when the latest chain of the first n + 1 rules that was complete by t began.
    before = f"({over} RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    parts, source, began = [], "matched", "t"
    for at in range(steps):
        chain = f"max(CASE WHEN rule = {at} THEN {began} END) OVER {before}"
        parts.append(f"{prefix}step_{at} AS (\n  SELECT *, {chain} AS s{at} FROM {prefix}{source}\n)")
        source, began = f"step_{at}", f"s{at}"
    holds = f"measure BETWEEN 0 AND {window.span}"
    return [*parts, _measured(f"coalesce(t - {began}, -1)", holds, prefix, source=source)]


def _new_terms(node: CompiledCorrelation, window: Window, _group: str, prefix: str) -> list[str]:
    columns = [
        f"{kind}{at}"
        for kind, names in (("g", node.group_by), ("v", node.condition.fields))
        for at in range(len(names))
    ]
    earlier = f"max(t) OVER ({_over(columns)} RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    return [_measured(f"t - {earlier}", f"coalesce(measure > {window.baseline}, TRUE)", prefix)]


def _spike(_node: CompiledCorrelation, window: Window, over: str, prefix: str) -> list[str]:
    now = f"count(*) OVER {_within(over, window.span)}"
    reach = window.span + window.baseline
    before = f"count(*) OVER ({over} RANGE BETWEEN {reach} PRECEDING AND {window.span + 1} PRECEDING)"
    counted = f"{prefix}counted AS (\n  SELECT *, {now} AS inside, {before} AS earlier FROM {prefix}matched\n)"
    # inside / (earlier * span / baseline), without a division: after nothing, anything is more than any ratio.
    tests = [
        f"inside * {window.baseline} {_SIGNS[name]} {number(bound)} * earlier * {window.span}"
        for name, bound in window.bounds.items()
    ]
    holds = " AND ".join([f"inside >= {window.minimum}", *tests])
    return [counted, _measured("inside", holds, prefix, source="counted")]


def _absence(_node: CompiledCorrelation, window: Window, over: str, prefix: str) -> list[str]:
    following = f"min(t) OVER ({over} RANGE BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
    before = f"count(*) OVER {_within(over, window.baseline)}"
    counted = f"{prefix}counted AS (\n  SELECT *, {following} AS next_time, {before} AS earlier FROM {prefix}matched\n)"
    bounds = _bounds(window.bounds)
    holds = f"coalesce(next_time > t + {window.span}, TRUE) AND measure >= {window.minimum} AND {bounds}"
    return [counted, _measured("earlier", holds, prefix, source="counted", fired=f"t + {window.span}")]


_MEASURES = {
    "event_count": _event_count,
    "value_count": _value_count,
    "value_sum": _value_sum,
    "temporal": _temporal,
    "temporal_ordered": _temporal_ordered,
    "new_terms": _new_terms,
    "spike": _spike,
    "absence": _absence,
}
