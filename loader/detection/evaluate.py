"""Decide in memory what a query decides on the server: the same field types, the same lower case, the same arrays.

The dialect is what the backend writes (match_all, match_none, bool, term, terms, prefix, wildcard, regexp, exists,
range) and one more kind, ``siem``, for what only ``_source`` can tell. Its body names a place (``field``, ``leaf`` or
``under``) and one condition on the texts there:

=================== ==================================================================================================
``pattern`` a wildcard pattern; with ``cased`` letters must be as written ``regex`` a regular expression to search
for; ``flags`` of i, m, s ``compare`` lt, lte, gt or gte ``number`` ``network`` an address in a CIDR network
``same_as`` another place; ``mode`` is equals, startswith, endswith or contains ``part`` minute, hour, day, week
(ISO), month or year of a time (UTC) is ``number`` ===================
==================================================================================================
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import timezone
from decimal import Decimal, InvalidOperation
from functools import partial
from ipaddress import IPv4Network, ip_network
from typing import Any

from loader.detection.event import Event, address, milliseconds, parse_time
from loader.detection.fields import Field, Schema, schema_of
from loader.detection.lowercase import lower
from loader.detection.lucene import compile_regexp, compile_wildcard
from loader.detection.model import CompiledRule, Query
from loader.detection.regex import compile_search
from loader.detection.sources import AWS_CLOUDTRAIL, source_for

Matcher = Callable[[Event], bool]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
_MODES: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda text, other: text == other,
    "startswith": lambda text, other: text.startswith(other),
    "endswith": lambda text, other: text.endswith(other),
    "contains": lambda text, other: other in text,
}
_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}

_compiled: dict[int, tuple[Query, Schema, Matcher]] = {}
_KEPT = 4096


def matches(query: Query, source: Mapping[str, Any] | Event, schema: Schema | None = None) -> bool:
    """Say whether a document matches. ``schema`` is CloudTrail's unless given.

    Raises:
        ValueError: the query is not of the dialect.
    """
    if isinstance(source, Event):
        schema = source.schema
    schema = schema or schema_of(AWS_CLOUDTRAIL)
    kept = _compiled.get(id(query))
    if kept is None or kept[0] is not query or kept[1] is not schema:
        if len(_compiled) >= _KEPT:
            _compiled.clear()
        kept = _compiled[id(query)] = (query, schema, compile_query(query, schema))
    return kept[2](source if isinstance(source, Event) else Event(source, schema))


def verified(rule: CompiledRule, source: Mapping[str, Any] | Event) -> bool:
    """Say whether a document that the rule's query found is meant: true at once where the query is exact."""
    return rule.verify is None or matches(rule.verify, source, _schema(rule))


def fires(rule: CompiledRule, source: Mapping[str, Any] | Event) -> bool:
    """Say whether ``rule`` matches a document, without a server."""
    return matches(rule.query if rule.verify is None else rule.verify, source, _schema(rule))


def refused_by(rule: CompiledRule, source: Mapping[str, Any] | Event) -> list[str]:
    """Return the names of the filters that take a document out, each of which would do so alone."""
    return [one.filter.name for one in rule.filters if not matches(one.query, source, _schema(rule))]


def _schema(rule: CompiledRule) -> Schema:
    return schema_of(source_for(rule.rule.logsource) or AWS_CLOUDTRAIL)


def compile_query(query: Query, schema: Schema) -> Matcher:
    """Return a function that decides ``query`` for one event after the other.

    Raises:
        ValueError: the query is not of the dialect.
    """
    ((kind, body),) = query.items()
    if kind == "match_all":
        return lambda _: True
    if kind == "match_none":
        return lambda _: False
    if kind == "bool":
        return _bool(body, schema)
    if kind == "siem":
        return _siem(body)
    if kind == "exists":
        present = _field(schema, body["field"])
        return lambda event: bool(event.indexed(present))
    ((name, condition),) = body.items()
    field = _field(schema, name)
    test = _test(kind, field, condition)
    return lambda event: any(test(value) for value in event.indexed(field))


def _field(schema: Schema, name: str) -> Field:
    try:
        return schema.fields[name]
    except KeyError:
        raise ValueError(f"there is no field {name}") from None


def _bool(body: Mapping[str, Any], schema: Schema) -> Matcher:
    def compiled(name: str) -> list[Matcher]:
        part = body.get(name, [])
        return [compile_query(query, schema) for query in (part if isinstance(part, list) else [part])]

    wanted, unwanted, options = compiled("filter") + compiled("must"), compiled("must_not"), compiled("should")
    least = body.get("minimum_should_match", 0 if wanted else 1) if options else 0

    def decide(event: Event) -> bool:
        if not all(test(event) for test in wanted) or any(test(event) for test in unwanted):
            return False
        if least == 1:
            return any(test(event) for test in options)
        return least == 0 or sum(test(event) for test in options) >= least

    return decide


def _test(kind: str, field: Field, condition: Any) -> Callable[[Any], bool]:
    if kind == "terms":
        if field.kind in ("keyword", "wildcard"):
            return frozenset(_normal(field, str(value)) for value in condition).__contains__
        tests = [_term(field, value) for value in condition]
        return lambda value: any(test(value) for test in tests)
    if kind == "range":
        return _range(field, condition)
    options = condition if isinstance(condition, Mapping) else {"value": condition}
    wanted, fold = options["value"], bool(options.get("case_insensitive"))
    if kind == "term":
        return _term(field, wanted, fold)
    if kind == "prefix":
        start = _folded(_normal(field, wanted)) if fold else _normal(field, wanted)
        return lambda value: (_folded(value) if fold else value).startswith(start)
    if kind == "wildcard":
        return _full(compile_wildcard(_normal(field, wanted), ignore_ascii_case=fold))
    if kind == "regexp":
        return _full(compile_regexp(wanted, ignore_ascii_case=fold))
    raise ValueError(f"queries of kind {kind} are not of the evaluator's dialect")


def _full(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: pattern.fullmatch(value) is not None


def _normal(field: Field, text: str) -> str:
    return lower(text) if field.lowered else text


def _folded(text: str) -> str:
    return text.translate(_ASCII_LOWER)


def _term(field: Field, wanted: Any, fold: bool = False) -> Callable[[Any], bool]:
    if field.kind == "ip":
        return _in_network(str(wanted))
    if field.kind == "boolean":
        wanted = wanted if isinstance(wanted, bool) else str(wanted) == "true"
        return lambda value: value is wanted
    if field.kind == "date":
        moment = milliseconds(wanted)
        return lambda value: bool(value == moment)
    if field.kind in ("integer", "float"):
        return lambda value: bool(value == wanted)
    text = _normal(field, str(wanted))
    if fold:
        folded = _folded(text)
        return lambda value: _folded(value) == folded
    return lambda value: bool(value == text)


def _in_network(wanted: str) -> Callable[[Any], bool]:
    network = ip_network(wanted, strict=False)
    mapped = 0xFFFF << 32 if isinstance(network, IPv4Network) else 0
    low, high = mapped | int(network.network_address), mapped | int(network.broadcast_address)
    return lambda value: value is not None and low <= value <= high


def _range(field: Field, bounds: Mapping[str, Any]) -> Callable[[Any], bool]:
    convert: Callable[[Any], Any] = milliseconds if field.kind == "date" else float
    tests = [(_COMPARE[name], convert(bound)) for name, bound in bounds.items() if name in _COMPARE]
    return lambda value: all(test(value, bound) for test, bound in tests)


def _siem(body: Mapping[str, Any]) -> Matcher:
    if "same_as" in body:
        return _same(body)
    test = _text_test(body)
    return lambda event: any(test(text) for text in event.texts(body))


def _text_test(body: Mapping[str, Any]) -> Callable[[str], bool]:
    if "pattern" in body:
        if body.get("cased"):
            return _full(compile_wildcard(body["pattern"]))
        folded = compile_wildcard(lower(body["pattern"]))
        return lambda text: folded.fullmatch(lower(text)) is not None
    if "regex" in body:
        search = compile_search(body["regex"], body.get("flags", ""))
        if search.flags & re.IGNORECASE:
            return lambda text: search.search(lower(text)) is not None
        return lambda text: search.search(text) is not None
    if "compare" in body:
        return partial(_compares, _COMPARE[body["compare"]], Decimal(str(body["number"])))
    if "network" in body:
        inside = _in_network(body["network"])
        return lambda text: inside(address(text))
    if "part" in body:
        return partial(_has_part, body["part"], body["number"])
    raise ValueError(f"no condition in {dict(body)}")


def _compares(test: Callable[[Any, Any], bool], bound: Decimal, text: str) -> bool:
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text, re.ASCII):
        return False
    try:
        return test(Decimal(text), bound)
    except InvalidOperation:
        return False


def _has_part(part: str, number: int, text: str) -> bool:
    moment = parse_time(text)
    if moment is None:
        return False
    moment = moment.astimezone(timezone.utc)
    return bool((moment.isocalendar()[1] if part == "week" else getattr(moment, part)) == number)


def _same(body: Mapping[str, Any]) -> Matcher:
    compare = _MODES[body["mode"]]

    def decide(event: Event) -> bool:
        others = [lower(text) for text in event.texts(body["same_as"])]
        return any(compare(lower(text), other) for text in event.texts(body) for other in others)

    return decide
