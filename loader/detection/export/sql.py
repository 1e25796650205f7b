"""Conditions as SQL in Trino's dialect (Athena engine version 3), from the evaluator's dialect of DSL.

Every condition is true or false, never null, so that a negation of what is missing is true, as in Sigma. Letters are
compared in lower case on both sides. What a rule's author wrote is text inside quotes, nothing else.

A payload's paths are compared in lower case, too, as the index does: the whole JSON text is made lower case first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from loader.detection.event import split_leaf
from loader.detection.export.athena_table import PAYLOADS, Place, column_of, json_path, leaf_column
from loader.detection.export.leaf_patterns import WHOLE, regexp_units, split_pattern, unescaped, wildcard_units
from loader.detection.export.model import UnsaidError
from loader.detection.fields import Field, Schema
from loader.detection.lowercase import lower
from loader.detection.lucene import compile_regexp, wildcard_tokens
from loader.detection.model import Query

_COMPARE = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_PARTS = ("minute", "hour", "day", "week", "month", "year")
_MODES = {
    "equals": "{x} = {y}",
    "startswith": "starts_with({x}, {y})",
    "endswith": "starts_with(reverse({x}), reverse({y}))",
    "contains": "strpos({x}, {y}) > 0",
}
Test = Callable[[str], str]


def literal(text: str) -> str:
    """Return ``text`` as a string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(text: str) -> str:
    """Return ``text`` as a quoted name."""
    return '"' + text.replace('"', '""') + '"'


def any_of_place(place: Place, test: Test, variable: str = "v") -> str:
    """Return the condition that ``test`` holds for a value of ``place``."""
    if not place.many:
        return f"coalesce({test(place.sql)}, FALSE)"
    return f"coalesce(any_match({place.sql}, {variable} -> coalesce({test(variable)}, FALSE)), FALSE)"


@dataclass(frozen=True)
class Conditions:
    """Writes conditions on the documents of one log type as conditions on the table's rows."""

    schema: Schema

    def sql(self, query: Query) -> str:
        """Return ``query`` as SQL.

        Raises:
            UnsaidError: it cannot be said.
        """
        ((kind, body),) = query.items()
        if kind in ("match_all", "match_none"):
            return "TRUE" if kind == "match_all" else "FALSE"
        if kind == "bool":
            return self._bool(body)
        if kind == "siem":
            return self._siem(body)
        if kind == "exists":
            return any_of_place(self._column(body["field"])[1], lambda value: f"{value} IS NOT NULL")
        ((name, condition),) = body.items()
        payloads = self.schema.source.payloads
        if payloads and name == payloads.field:
            return self._leaves(kind, condition)
        return self._field(kind, name, condition)

    def _bool(self, body: Mapping[str, Any]) -> str:
        def several(name: str) -> list[str]:
            part = body.get(name, [])
            return [self.sql(one) for one in (part if isinstance(part, list) else [part])]

        parts = [*several("filter"), *several("must"), *(f"NOT ({one})" for one in several("must_not"))]
        options = several("should")
        if options and (body.get("minimum_should_match", 0 if parts else 1)) == 1:
            parts.append("(" + "\n  OR ".join(options) + ")" if len(options) > 1 else options[0])
        return "(" + "\n  AND ".join(parts) + ")" if len(parts) != 1 else parts[0]

    # --- fields ------------------------------------------------------------------------------------------------

    def _column(self, name: str) -> tuple[Field, Place]:
        field = self.schema.fields[name]
        return field, column_of(self.schema, field.path)

    def _field(self, kind: str, name: str, condition: Any) -> str:
        field, place = self._column(name)
        if kind == "terms":
            if field.kind in ("keyword", "wildcard"):
                return any_of_place(place, _text_test("terms", condition, _folded(field, {})))
            return "(" + " OR ".join(self._field("term", name, one) for one in condition) + ")"
        if kind == "range":
            return any_of_place(place, _range_test(field, condition))
        options = condition if isinstance(condition, Mapping) else {"value": condition}
        if field.kind in ("keyword", "wildcard"):
            return any_of_place(place, _text_test(kind, options["value"], _folded(field, options)))
        if kind != "term":
            raise UnsaidError(f"{name} holds {field.kind} values, which SQL compares as a whole")
        return any_of_place(place, _scalar_test(field, options["value"]))

    # --- leaves of payloads ------------------------------------------------------------------------------------

    def _leaves(self, kind: str, condition: Any) -> str:
        if kind == "terms":
            by_path: dict[str, list[str]] = {}
            odd = []
            for written in condition:
                path, value = split_leaf(str(written))
                if value is None:
                    odd.append(self._leaves("term", written))
                else:
                    by_path.setdefault(path, []).append(value)
            tests = [any_of_place(_leaf(path), _text_test("terms", values, False)) for path, values in by_path.items()]
            return "(" + " OR ".join([*tests, *odd]) + ")"
        text = condition["value"] if isinstance(condition, Mapping) else condition
        if kind == "regexp":
            path, rest = split_pattern(regexp_units(text), text)
            return any_of_place(_leaf(path), _text_test("regexp", rest, False))
        if kind == "term":
            path, value = split_leaf(text)
            return _is_null(path) if value is None else any_of_place(_leaf(path), _text_test("term", value, False))
        units = [(one, one) for one in text] if kind == "prefix" else wildcard_units(text)
        if kind == "prefix" and split_leaf(text)[1] is None:
            if not text.endswith("."):
                raise UnsaidError(f"a payload's key cannot be compared by how it begins ({text})")
            return _has_members(text[:-1])
        path, rest = split_pattern(units, text)
        if kind == "prefix":
            if not rest:
                return any_of_place(_leaf(path), lambda value: f"{value} IS NOT NULL")
            return any_of_place(_leaf(path), lambda value: f"starts_with({value}, {literal(rest)})")
        return any_of_place(_leaf(path), _text_test("wildcard", rest, False))

    # --- what only the document can tell ------------------------------------------------------------------------

    def _siem(self, body: Mapping[str, Any]) -> str:
        if "same_as" in body:
            first, other = self._place(body, lowered=True), self._place(body["same_as"], lowered=True)
            compare = _MODES[body["mode"]]
            return any_of_place(
                first,
                lambda x: any_of_place(other, lambda y: compare.format(x=f"lower({x})", y=f"lower({y})"), "w"),
            )
        cased = bool(body.get("cased")) or ("regex" in body and "i" not in body.get("flags", ""))
        return any_of_place(self._place(body, lowered=not cased), _siem_test(body))

    def _place(self, body: Mapping[str, Any], *, lowered: bool) -> Place:
        if "field" in body:
            return self._column(body["field"])[1]
        if "leaf" not in body:
            raise UnsaidError(WHOLE)
        return leaf_column(body["leaf"], lowered=lowered)


def _folded(field: Field, options: Mapping[str, Any]) -> bool:
    return field.lowered or bool(options.get("case_insensitive"))


def _text_test(kind: str, value: Any, folded: bool) -> Test:
    """Return the test of a text. With ``folded`` both sides are compared in lower case."""

    def side(column: str) -> str:
        return f"lower({column})" if folded else column

    def wanted(text: Any) -> str:
        return lower(str(text)) if folded else str(text)

    if kind == "terms":
        values = ", ".join(literal(wanted(one)) for one in dict.fromkeys(value))
        return lambda column: f"{side(column)} IN ({values})"
    if kind == "term":
        return lambda column: f"{side(column)} = {literal(wanted(value))}"
    if kind == "prefix":
        return lambda column: f"starts_with({side(column)}, {literal(wanted(value))})"
    if kind == "wildcard":
        return lambda column: f"{side(column)} LIKE {like_pattern(wanted(value))}"
    if kind == "regexp":
        pattern = literal(rf"\A(?s:{compile_regexp(wanted(value) if folded else value).pattern})\z")
        return lambda column: f"regexp_like({side(column)}, {pattern})"
    raise UnsaidError(f"SQL has no condition of kind {kind}")


def like_pattern(pattern: str) -> str:
    """Return a ``wildcard`` pattern as a LIKE pattern with its escape."""
    parts = []
    for kind, text in wildcard_tokens(pattern):
        parts.append({"*": "%", "?": "_"}.get(kind) or (f"\\{text}" if text in "%_\\" else text))
    return f"{literal(''.join(parts))} ESCAPE '\\'"


def _range_test(field: Field, bounds: Mapping[str, Any]) -> Test:
    known = {name: bound for name, bound in bounds.items() if name in _COMPARE}
    if field.kind == "date":
        moment = "from_iso8601_timestamp({})"
        return lambda column: " AND ".join(
            f"try({moment.format(column)}) {_COMPARE[name]} {moment.format(literal(str(bound)))}"
            for name, bound in known.items()
        )
    return lambda column: " AND ".join(
        f"try_cast({column} AS DOUBLE) {_COMPARE[name]} {float(bound)!r}" for name, bound in known.items()
    )


def _scalar_test(field: Field, wanted: Any) -> Test:
    if field.kind == "ip":
        return _network_test(str(wanted))
    if field.kind == "boolean":
        answer = literal("true" if wanted is True or str(wanted) == "true" else "false")
        return lambda column: f"lower({column}) = {answer}"
    if field.kind in ("integer", "float"):
        return lambda column: f"try_cast({column} AS DOUBLE) = {float(wanted)!r}"
    if field.kind == "date":
        moment = literal(str(wanted))
        return lambda column: f"try(from_iso8601_timestamp({column})) = from_iso8601_timestamp({moment})"
    raise UnsaidError(f"{field.name} holds {field.kind} values, which SQL does not compare")


def _network_test(wanted: str) -> Test:
    network = literal(str(ip_network(wanted, strict=False)))
    return lambda column: f"contains({network}, try_cast({column} AS IPADDRESS))"


def _siem_test(body: Mapping[str, Any]) -> Test:
    if "pattern" in body:
        if body.get("cased"):
            return lambda column: f"{column} LIKE {like_pattern(body['pattern'])}"
        return lambda column: f"lower({column}) LIKE {like_pattern(lower(body['pattern']))}"
    if "regex" in body:
        return _regex_test(body["regex"], body.get("flags", ""))
    if "compare" in body:
        sign, number = _COMPARE[body["compare"]], float(body["number"])
        form = literal(r"\A-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\z")
        return lambda column: f"regexp_like({column}, {form}) AND try_cast({column} AS DOUBLE) {sign} {number!r}"
    if "network" in body:
        return _network_test(body["network"])
    if body.get("part") in _PARTS:
        part, number = body["part"], int(body["number"])
        return lambda column: f"{part}(try(from_iso8601_timestamp({column}) AT TIME ZONE 'UTC')) = {number}"
    raise UnsaidError("SQL has no such condition")


def _regex_test(regex: str, flags: str) -> Test:
    if "(?P" in regex or "(?<" in regex.replace("(?<=", "").replace("(?<!", ""):
        raise UnsaidError("named groups of regular expressions are written otherwise there")
    # Sigma's i is over all of Unicode, and the engine's not everywhere: the text is lower case, and so is the pattern.
    if "i" in flags and not regex.isascii():
        raise UnsaidError("a regular expression with letters beyond ASCII does not ignore case there")
    pattern = literal(f"(?{flags}){regex}" if flags else regex)
    return lambda column: f"regexp_like({column}, {pattern})"


def _leaf(path: str) -> Place:
    return leaf_column(unescaped(path), lowered=True)


def _keys(path: str) -> tuple[str, list[str]]:
    root, _, rest = unescaped(path).partition(".")
    if root.lower() not in PAYLOADS:
        raise UnsaidError(f"{path} is in no column of JSON")
    return f"lower({root.lower()})", rest.split(".") if rest else []


def _has_members(path: str) -> str:
    column, keys = _keys(path)
    return f"coalesce(json_exists({column}, '{json_path(keys, lowered=True)}.*'), FALSE)"


def _is_null(path: str) -> str:
    if path.partition(".")[0].lower() not in PAYLOADS:  # a struct's member: null and missing are the same there
        return "FALSE"
    column, keys = _keys(path)
    return f"coalesce(json_exists({column}, '{json_path(keys, lowered=True)}[*]?(@ == null)'), FALSE)"
