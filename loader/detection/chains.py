"""Correlations: references resolved to compiled rules, field names mapped, conditions read. They are run elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import isfinite, nan
from typing import Any

from loader.detection.fields import Schema, field_map, schema_of
from loader.detection.load import RuleSet
from loader.detection.model import CompiledCorrelation, CompiledRule, Condition, CorrelationRule, Problem, Rule
from loader.detection.places import Places
from loader.detection.sources import source_for
from loader.detection.window import EXTENSIONS, Expression
from loader.detection.window_terms import expression_of, references, travel_limits, window_of
from loader.errors import RuleError

_OPERATORS = ("gt", "gte", "lt", "lte", "eq", "neq")
#: Types of specification 2.1, and (last line) this project's own, which sigma-cli refuses.
_NEEDS_FIELD = ("value_count", "value_sum", "value_avg", "value_percentile", "value_median")
_TEMPORAL = ("temporal", "temporal_ordered")
_OURS = EXTENSIONS
#: Keys of ``correlation:`` that are ours.
_EXTRA = {"baseline", "minimum", "warmup", "distance_km", "speed_kmh"}
TYPES = ("event_count", *_NEEDS_FIELD, *_TEMPORAL, *_OURS)


def compile_correlations(
    rules: RuleSet, compiled: Mapping[str, CompiledRule], places: Places | None = None
) -> tuple[list[CompiledCorrelation], list[Problem]]:
    """Compile the correlations of ``rules``. ``compiled`` holds their base rules by :attr:`Rule.where`."""
    chains = _Chains(rules, compiled, places)
    done, problems = [], []
    for rule in rules.correlations:
        try:
            done.append(chains.compile(rule))
        except RuleError as error:
            line = int((error.where or "").rpartition(":")[2] or rule.line)
            problems.append(Problem(rule.path, line, "correlation", error.message, hint=error.hint))
    return done, problems


class _Chains:
    def __init__(self, rules: RuleSet, compiled: Mapping[str, CompiledRule], places: Places | None) -> None:
        self.rules = rules
        self.places = places
        self.compiled = compiled
        self.done: dict[str, CompiledCorrelation] = {}
        self.open: set[str] = set()
        self.named: dict[str, list[Rule]] = defaultdict(list)
        for rule in (*rules.correlations, *rules.rules):
            for name in {rule.name, rule.sigma_name, rule.uuid} - {None, ""}:
                self.named[str(name)].append(rule)

    def compile(self, rule: CorrelationRule) -> CompiledCorrelation:
        if rule.where in self.done:
            return self.done[rule.where]
        if rule.where in self.open:
            raise self._error(rule, "the correlation refers to itself", "rules")
        self.open.add(rule.where)
        try:
            self.done[rule.where] = self._compile(rule)
        finally:
            self.open.discard(rule.where)
        return self.done[rule.where]

    def _compile(self, rule: CorrelationRule) -> CompiledCorrelation:
        if rule.type not in TYPES:
            raise self._error(rule, f"correlation type {rule.type!r} is none of {', '.join(TYPES)}", "type")
        if not rule.rules:
            raise self._error(rule, "the correlation names no rules")
        if not rule.seconds:
            raise self._error(rule, "the correlation has no timespan")
        if unknown := set(rule.extra) - _EXTRA:
            hint = f"Known besides the specification's: {', '.join(sorted(_EXTRA))}."
            raise self._error(rule, f"the correlation has unknown keys: {', '.join(sorted(unknown))}", hint=hint)
        if rule.type == "impossible_travel":
            self._check_travel(rule)
        expression = self._expression(rule)
        named = self._named(rule, expression)
        bases = {reference: self._base(rule, found) for reference, found in named.items()}
        schemas = {reference: self._schema(base) for reference, base in bases.items()}
        aliases = {alias: self._alias(rule, alias, by_rule, named, bases) for alias, by_rule in rule.aliases.items()}
        first = next(iter(schemas.values()))
        group_by = tuple(
            name
            if name in aliases or all(_is_alias_of(base, name) for base in bases.values())
            else self._field(rule, first, name, "group-by")
            for name in rule.group_by
        )
        suppress_by = rule.suppression.by if rule.suppression else ()
        compiled = CompiledCorrelation(
            rule=rule,
            type=rule.type,
            rules=bases,
            seconds=rule.seconds,
            group_by=group_by,
            condition=self._condition(rule, first),
            aliases=aliases,
            generate=rule.generate,
            suppress_by=tuple(self._field(rule, first, name, "suppress") for name in suppress_by),
            extra=rule.extra,
            places=self.places if rule.type == "impossible_travel" else None,
        )
        try:
            window_of(compiled)
        except RuleError as error:
            raise self._error(rule, error.message, hint=error.hint) from None
        return compiled

    def _check_travel(self, rule: CorrelationRule) -> None:
        try:
            travel_limits(rule)
        except RuleError as error:
            raise self._error(rule, error.message, hint=error.hint) from None
        if set(rule.condition) != {"field"} or len(_listed(rule.condition["field"])) != 1:
            message = "impossible_travel has one condition, field: the one that holds an address"
            raise self._error(rule, message, "condition")

    def _expression(self, rule: CorrelationRule) -> Expression | None:
        text = rule.condition.get("expression")
        if text is None:
            return None
        if rule.type not in _TEMPORAL:
            raise self._error(rule, "only temporal correlations have a condition that names rules", "condition")
        try:
            return expression_of(str(text), where=rule.where)
        except RuleError as error:
            raise self._error(rule, error.message, "condition", hint=error.hint) from None

    def _named(self, rule: CorrelationRule, expression: Expression | None) -> dict[str, Rule]:
        """Return the rules below, by what the condition calls them; without such a condition, by how they are listed.

        ``rules`` may have the id where the condition has the name.
        """
        listed: dict[str, str] = {}
        named: dict[str, Rule] = {}
        for reference in rule.rules:
            found = self._find(rule, reference, "rules")
            if found.where in listed:
                raise self._error(rule, f"rule {reference!r} is named twice", "rules")
            listed[found.where] = reference
            named[reference] = found
        if expression is None:
            return named
        named = {}
        for reference in references(expression):
            found = self._find(rule, reference, "condition")
            if listed.pop(found.where, None) is None:
                twice = any(found is other for other in named.values())
                said = "by two names" if twice else "which is not among its rules"
                raise self._error(rule, f"the condition names {reference!r}, {said}", "condition")
            named[reference] = found
        if listed:
            left = ", ".join(listed.values())
            raise self._error(rule, f"the condition does not say what is to be of {left}", "condition")
        return named

    def _find(self, rule: CorrelationRule, reference: str, key: str) -> Rule:
        found = self.named.get(reference, [])
        if len(found) > 1:
            # Of several folders' rules with one name those of the same file are meant.
            found = [one for one in found if one.path == rule.path] or found
        if len(found) > 1:
            places = ", ".join(one.where for one in found)
            raise self._error(
                rule, f"several rules are called {reference!r}: {places}", key, hint="Name one by its id."
            )
        if not found:
            raise self._error(rule, f"there is no rule {reference!r}", key)
        return found[0]

    def _base(self, rule: CorrelationRule, found: Rule) -> CompiledRule | CompiledCorrelation:
        if isinstance(found, CorrelationRule):
            return self.compile(found)
        if found.where not in self.compiled:
            raise self._error(rule, f"rule {found.sigma_name or found.name!r} could not be compiled", "rules")
        return self.compiled[found.where]

    def _alias(
        self,
        rule: CorrelationRule,
        alias: str,
        by_rule: Mapping[str, str],
        named: Mapping[str, Rule],
        bases: Mapping[str, CompiledRule | CompiledCorrelation],
    ) -> dict[str, str]:
        """Return an alias's field of each rule below, however the alias calls that rule."""
        paths: dict[str, str] = {}
        for reference, name in by_rule.items():
            meant = self.named.get(reference, [])
            own = next((called for called, one in named.items() if any(one is other for other in meant)), None)
            if own is None:
                message = f"an alias names rule {reference!r}, which the correlation does not"
                raise self._error(rule, message, "aliases")
            base = bases[own]
            is_group = _is_alias_of(base, name)
            paths[own] = name if is_group else self._field(rule, self._schema(base), name, "aliases")
        if lacking := [called for called in named if called not in paths]:
            # Its events would belong to no group, and never count.
            message = f"the alias {alias} does not say which field of {', '.join(lacking)} it is"
            raise self._error(rule, message, "aliases")
        return paths

    def _schema(self, base: CompiledRule | CompiledCorrelation) -> Schema:
        while isinstance(base, CompiledCorrelation):
            base = next(iter(base.rules.values()))
        source = source_for(base.rule.logsource)
        assert source is not None  # noqa: S101 (it was compiled, so it has one)
        return schema_of(source)

    def _field(self, rule: CorrelationRule, schema: Schema, name: str, key: str) -> str:
        path = schema.stored_path(field_map(schema.source).get(name, (name,))[0])
        if path is None:
            close = schema.resembling(name, iter(field_map(schema.source)))
            hint = f"Did you mean {' or '.join(close)}?" if close else None
            raise self._error(rule, f"there is no field {name}", key, hint=hint)
        return path

    def _condition(self, rule: CorrelationRule, schema: Schema) -> Condition:
        written = dict(rule.condition)
        if "expression" in written:
            return Condition(expression=str(written["expression"]))
        unknown = set(written) - {*_OPERATORS, "field", "percentile"}
        if unknown:
            raise self._error(rule, f"the condition has unknown keys: {', '.join(sorted(unknown))}", "condition")
        bounds = {name: self._number(rule, written[name], name) for name in _OPERATORS if name in written}
        percentile = self._number(rule, written["percentile"], "percentile") if "percentile" in written else None
        if not bounds and rule.type not in (*_TEMPORAL, *_OURS):
            raise self._error(rule, f"{rule.type} needs a condition with {', '.join(_OPERATORS)}", "condition")
        fields = _listed(written.get("field"))
        if rule.type in _NEEDS_FIELD and not fields:
            raise self._error(rule, f"{rule.type} needs condition.field", "condition")
        if len(fields) > 1 and rule.type in _NEEDS_FIELD[1:]:
            raise self._error(rule, f"{rule.type} takes one field", "condition")
        if (rule.type == "value_percentile") != (percentile is not None) or not 0 <= (percentile or 0) <= 100:
            message = "value_percentile needs condition.percentile, 0 to 100, and nothing else takes it"
            raise self._error(rule, message, "condition")
        paths = tuple(self._field(rule, schema, name, "condition") for name in fields)
        return Condition(bounds, paths, percentile)

    def _number(self, rule: CorrelationRule, value: Any, key: str) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = nan
        if isinstance(value, bool) or not isfinite(number):
            raise self._error(rule, f"{key} is {value!r}, which is no number", "condition", key)
        return number

    def _error(self, rule: CorrelationRule, message: str, *path: str, hint: str | None = None) -> RuleError:
        return RuleError(message, where=f"{rule.path}:{self.rules.line(rule, 'correlation', *path)}", hint=hint)


def _is_alias_of(base: CompiledRule | CompiledCorrelation, name: str) -> bool:
    """Tell whether ``base`` is a correlation whose triggers have a group's value of that name."""
    return isinstance(base, CompiledCorrelation) and name in base.aliases and name in base.group_by


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
