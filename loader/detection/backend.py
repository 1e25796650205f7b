# ruff: noqa: ARG002 (pySigma calls these methods with arguments that not all of them need)
"""The pySigma backend: a Sigma rule's conditions become structured query DSL, typed by the index templates.

Registered with pySigma as ``siem`` (see ``sigma/backends/siem``), so that ``sigma convert -t siem`` uses it too.
Formats: ``default`` is the query as JSON; ``clause`` a :class:`loader.detection.clauses.Clause`, for this project's
own compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, ClassVar, Literal, cast

import orjson
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.conversion.base import Backend
from sigma.conversion.state import ConversionState
from sigma.correlations import SigmaCorrelationRule
from sigma.processing.pipeline import ProcessingPipeline
from sigma.rule import SigmaRule
from sigma.types import (
    CompareOperators,
    Placeholder,
    SigmaBool,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from loader.detection import scalars, text
from loader.detection.clauses import MATCH_ALL, MAX_CLAUSES, Clause, both, count_clauses, either, negated
from loader.detection.fields import Field, Leaf, Schema, field_map, schema_of
from loader.detection.model import Engine, LogSource
from loader.detection.numbers import Op
from loader.detection.regex import Expression
from loader.detection.sources import SOURCES, Source, source_for
from loader.detection.text import Piece
from loader.detection.unsupported import UnsupportedError

_FieldValue = ConditionFieldEqualsValueExpression
_OPS: dict[CompareOperators, Op] = {
    CompareOperators.LT: "lt",
    CompareOperators.LTE: "lte",
    CompareOperators.GT: "gt",
    CompareOperators.GTE: "gte",
}
_CORRELATIONS = "correlations are run by `siem detect`, not by a query: no query can have an exact sliding window"


@cache
def _project_pipeline(source: Source) -> ProcessingPipeline:
    return ProcessingPipeline.from_yaml(source.pipeline_path.read_text(encoding="utf-8"))


class SiemBackend(Backend):
    """Structured query DSL for OpenSearch and Elasticsearch, with types from ``mappings/``."""

    identifier: ClassVar[str] = "siem"
    name: ClassVar[str] = "cloudtrail-siem: query DSL for OpenSearch and Elasticsearch"
    formats: ClassVar[dict[str, str]] = {
        "default": "query DSL, one JSON object a rule; a rule that also needs verification says so",
        "clause": "this project's own compiler only",
    }
    requires_pipeline: ClassVar[bool] = False
    correlation_methods: ClassVar[dict[str, str] | None] = None

    def __init__(
        self,
        processing_pipeline: ProcessingPipeline | None = None,
        collect_errors: bool = False,
        engine: Engine = "opensearch",
        **options: Any,
    ) -> None:
        super().__init__(processing_pipeline, collect_errors, **options)
        self.engine = engine
        self._schema: Schema | None = None
        #: Document fields and payload paths the rule converted last looks at.
        self.looked_at: dict[str, None] = {}
        #: What is converted is only a part of a rule (a filter): it may match every event, the rule does not.
        self.partial = False

    # --- a rule ------------------------------------------------------------------------------------------------

    def init_processing_pipeline(self, output_format: str | None = None) -> None:
        """Put the project's own field maps first: they apply by logsource, so the user's pipelines come on top."""
        super().init_processing_pipeline(output_format)
        mine = sum((_project_pipeline(source) for source in SOURCES), ProcessingPipeline())
        mine.vars.update(self.last_processing_pipeline.vars)
        self.last_processing_pipeline = mine + self.last_processing_pipeline

    def convert_rule(
        self,
        rule: SigmaRule,
        output_format: str | None = None,
        callback: Callable[[SigmaRule | SigmaCorrelationRule, str | None, int, Any, Any], Any] | None = None,
    ) -> list[Any]:
        """Convert one rule; several conditions become several queries.

        Raises:
            UnsupportedError: no log of this SIEM is meant, or a condition cannot be expressed.
        """
        self._schema = None
        self.looked_at = {}
        logsource = LogSource(rule.logsource.product, rule.logsource.category, rule.logsource.service)
        source = source_for(logsource)
        if source is not None:
            self._schema = schema_of(source)
        return super().convert_rule(rule, output_format, callback)

    def finish_query(self, rule: SigmaRule | SigmaCorrelationRule, query: Any, state: ConversionState) -> Any:
        """Refuse what would match every event or has more clauses than a server takes."""
        clause = cast(Clause, query)
        if clause.upper == MATCH_ALL and not self.partial:
            raise UnsupportedError(
                f"{self.engine} would have to return every event: the condition has no part it can search for",
                hint="Add a condition the index can answer, such as eventSource or eventName.",
            )
        if (count := count_clauses(clause.upper)) > MAX_CLAUSES:
            raise UnsupportedError(f"the query has {count} clauses; {self.engine} refuses more than {MAX_CLAUSES}")
        return clause

    def finalize_query_default(self, rule: SigmaRule, query: Clause, index: int, state: ConversionState) -> str:
        """Return the query as JSON; with ``verify`` beside it where the server alone cannot decide."""
        body: dict[str, Any] = {"query": query.upper}
        if not query.is_exact:
            body["verify"] = query.exact
        return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()

    def finalize_query_clause(self, rule: SigmaRule, query: Clause, index: int, state: ConversionState) -> Clause:
        """Return the clause as it is."""
        return query

    def finalize_output_default(self, queries: list[str]) -> list[str]:
        """Return the queries."""
        return list(queries)

    def finalize_output_clause(self, queries: list[Clause]) -> list[Clause]:
        """Return the clauses."""
        return list(queries)

    # --- boolean -----------------------------------------------------------------------------------------------

    def convert_condition_or(self, cond: ConditionOR, state: ConversionState) -> Clause:
        """Join by or."""
        return either(self._arguments(cond.args, state))

    def convert_condition_and(self, cond: ConditionAND, state: ConversionState) -> Clause:
        """Join by and."""
        return both(self._arguments(cond.args, state))

    def convert_condition_not(self, cond: ConditionNOT, state: ConversionState) -> Clause:
        """Negate."""
        return negated(cast(Clause, self.convert_condition(cond.args[0], state)))

    def convert_condition_as_in_expression(self, cond: Any, state: ConversionState) -> Clause:
        """Lists become ``terms`` when clauses are joined; this is not called."""
        raise NotImplementedError

    def _arguments(self, conditions: Iterable[Any], state: ConversionState) -> list[Clause]:
        return [self.convert_condition(condition, state) for condition in conditions if condition is not None]

    # --- field and value ---------------------------------------------------------------------------------------

    def convert_condition_field_eq_val(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Convert one comparison; what goes wrong says in which line of the rule."""
        try:
            return cast(Clause, super().convert_condition_field_eq_val(cond, state))
        except UnsupportedError as error:
            source = getattr(cond, "source", None)
            if error.line is None and source is not None:
                error.line = source.line
            raise

    def convert_condition_field_eq_expansion(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Join what a modifier expanded a value to, by or."""
        values = cast(SigmaExpansion, cond.value).values
        return either([self.convert_condition_field_eq_val(_FieldValue(cond.field, v), state) for v in values])

    def convert_condition_field_eq_val_str(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Compare with text, ignoring case."""
        return self._equals(self._target(cond.field), pieces(cast(SigmaString, cond.value)))

    def convert_condition_field_eq_val_str_case_sensitive(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Compare with text as it is written."""
        return self._equals(self._target(cond.field), pieces(cast(SigmaString, cond.value)), cased=True)

    def convert_condition_field_eq_val_num(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Compare with a number; in text, as a number would be written."""
        target, number = self._target(cond.field), cast(SigmaNumber, cond.value).number
        if isinstance(target, Field) and target.kind in ("boolean", "date", "ip"):
            raise UnsupportedError(f"{target.name} holds {target.kind} values: {number} can never match")
        written = (
            [str(number), f"{number}.0"] if isinstance(number, int) and isinstance(target, Leaf) else [str(number)]
        )
        return either([self._equals(target, [Piece(form)]) for form in written])

    def convert_condition_field_eq_val_bool(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Compare with true or false."""
        return self._equals(self._target(cond.field), [Piece(str(cast(SigmaBool, cond.value).boolean).lower())])

    def convert_condition_field_eq_val_re(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Search for a regular expression."""
        value = cast(SigmaRegularExpression, cond.value)
        return text.searched(self._target(cond.field), expression(value), self._fields)

    def convert_condition_field_eq_val_cidr(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Ask whether an address is in a network."""
        network = cast(SigmaCIDRExpression, cond.value).network
        return scalars.in_network(self._target(cond.field), network, self._fields)

    def convert_condition_field_compare_op_val(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Compare numbers."""
        value = cast(SigmaCompareExpression, cond.value)
        return scalars.compared(self._target(cond.field), _OPS[value.op], value.number.number, self._fields)

    def convert_condition_field_eq_field(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Compare two fields of the same event: the server finds events that have both, ``_source`` decides."""
        reference = cast(SigmaFieldReference, cond.value)
        target, other = self._target(cond.field), self._target(reference.field)
        mode = {(False, False): "equals", (True, False): "startswith", (False, True): "endswith"}.get(
            (reference.starts_with, reference.ends_with), "contains"
        )
        bounds = both([Clause.of(text.present(target, self._fields)), Clause.of(text.present(other, self._fields))])
        return Clause.within(bounds.upper, text.verified(target, same_as=text.place(other), mode=mode))

    def convert_condition_field_eq_val_timestamp_part(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Compare a part of a time: the server finds events that have the time, ``_source`` decides."""
        target, value = self._target(cond.field), cast(SigmaTimestampPart, cond.value)
        if isinstance(target, Field) and target.kind != "date":
            raise UnsupportedError(f"{target.name} holds {target.kind} values, not times")
        part: Literal["minute", "hour", "day", "week", "month", "year"] = value.timestamp_part.name.lower()  # type: ignore[assignment]
        certain = isinstance(target, Field) and target.name == "@timestamp"
        upper = MATCH_ALL if certain else text.present(target, self._fields)
        return Clause.within(upper, text.verified(target, part=part, number=value.number))

    def convert_condition_field_eq_val_null(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Ask for a field that is not there or null."""
        return text.absent(self._target(cond.field), self._fields)

    def convert_condition_field_exists(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Ask for a field that is there."""
        return Clause.of(text.there(self._target(cond.field), self._fields))

    def convert_condition_field_not_exists(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Ask for a field that is not there."""
        return negated(self.convert_condition_field_exists(cond, state))

    def convert_condition_field_eq_val_exists(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Ask whether a field is there."""
        found = self.convert_condition_field_exists(cond, state)
        return found if cast(SigmaExists, cond.value).exists else negated(found)

    def convert_condition_field_eq_query_expr(self, cond: _FieldValue, state: ConversionState) -> Clause:
        """Refuse a piece of another query language."""
        raise UnsupportedError("a query expression of a pipeline is another language's")

    # --- values without a field --------------------------------------------------------------------------------

    def convert_condition_val_str(self, cond: ConditionValueExpression, state: ConversionState) -> Clause:
        """Search for text anywhere in the event."""
        return text.anywhere(pieces(cast(SigmaString, cond.value)), self._fields, self._text_fields())

    def convert_condition_val_num(self, cond: ConditionValueExpression, state: ConversionState) -> Clause:
        """Search for a number's digits anywhere in the event."""
        number = str(cast(SigmaNumber, cond.value).number)
        return text.anywhere([Piece(number)], self._fields, self._text_fields())

    def convert_condition_val_re(self, cond: ConditionValueExpression, state: ConversionState) -> Clause:
        """Search for a regular expression anywhere in the event."""
        found = expression(cast(SigmaRegularExpression, cond.value))
        targets = [target for name in self._text_fields() if isinstance(target := self._fields.find(name), Field)]
        everywhere: list[Field | Leaf] = [*targets, Leaf("", True)]
        return either([text.searched(target, found, self._fields) for target in everywhere])

    def convert_condition_query_expr(self, cond: ConditionValueExpression, state: ConversionState) -> Clause:
        """Refuse a piece of another query language."""
        raise UnsupportedError("a query expression of a pipeline is another language's")

    # --- fields ------------------------------------------------------------------------------------------------

    @property
    def _fields(self) -> Schema:
        if self._schema is None:
            raise UnsupportedError("no log type of this SIEM has the rule's logsource")
        return self._schema

    def _text_fields(self) -> list[str]:
        names = dict.fromkeys(name for names in field_map(self._fields.source).values() for name in names)
        kinds = ("keyword", "wildcard")
        return [name for name in names if isinstance(f := self._fields.find(name), Field) and f.kind in kinds]

    def _target(self, name: str) -> Field | Leaf:
        schema = self._fields
        found = schema.find(name)
        if found is None:
            close = schema.resembling(name, iter(field_map(schema.source)))
            raise UnsupportedError(
                f"there is no field {name}: a condition on it would silently be false, a filter pass everything",
                hint=f"Did you mean {' or '.join(close)}?" if close else f"Map it in {self._fields.source.pipeline}.",
            )
        self.looked_at[name] = None
        return found

    def _equals(self, target: Field | Leaf, value: list[Piece], *, cased: bool = False) -> Clause:
        if isinstance(target, Leaf) or target.kind in ("keyword", "wildcard"):
            return text.matches(target, value, cased=cased, schema=self._fields)
        return scalars.matches(target, value)

    # --- correlations ------------------------------------------------------------------------------------------

    def _refuse_correlation(self, *_: Any, **__: Any) -> list[Any]:
        raise UnsupportedError(_CORRELATIONS)

    convert_correlation_event_count_rule = _refuse_correlation
    convert_correlation_value_count_rule = _refuse_correlation
    convert_correlation_temporal_rule = _refuse_correlation
    convert_correlation_temporal_ordered_rule = _refuse_correlation
    convert_correlation_extended_temporal_rule = _refuse_correlation
    convert_correlation_extended_temporal_ordered_rule = _refuse_correlation
    convert_correlation_value_sum_rule = _refuse_correlation
    convert_correlation_value_avg_rule = _refuse_correlation
    convert_correlation_value_percentile_rule = _refuse_correlation
    convert_correlation_value_median_rule = _refuse_correlation


def pieces(value: SigmaString) -> list[Piece]:
    """Return a Sigma string's parts.

    Raises:
        UnsupportedError: a placeholder was left in it.
    """
    parts = []
    for part in value.s:
        if isinstance(part, str):
            parts.append(Piece(part))
        elif isinstance(part, Placeholder):
            raise UnsupportedError(
                f"the placeholder %{part.name}% has no values", hint="Name them in the variables file (--variables)."
            )
        elif not (part is SpecialChars.WILDCARD_MULTI and parts and parts[-1].wild == "*"):
            parts.append(Piece(wild="*" if part is SpecialChars.WILDCARD_MULTI else "?"))
    return parts


def expression(value: SigmaRegularExpression) -> Expression:
    """Return a Sigma regular expression as ours."""
    if any(isinstance(part, Placeholder) for part in value.regexp.s):
        raise UnsupportedError("a placeholder in a regular expression has no values")
    flags = "".join(sorted(value.sigma_to_re_flag[flag] for flag in value.flags))
    return Expression(value.regexp.to_plain_regex(), flags)
