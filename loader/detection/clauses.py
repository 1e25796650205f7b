"""Query clauses and how they combine, so that what the server cannot express never loses an event.

A :class:`Clause` carries two server queries: ``upper`` matches at least the events meant, ``lower`` at most those.
They are the same where the server can say exactly what is meant. Negation swaps them: the negation of something too
wide would be too narrow, which is how filters come to fail open or rules to fall silent.

Bodies are built with elasticsearch_dsl's ``Q``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from loader.detection.fields import schema_of
from loader.detection.lucene import union_of_patterns
from loader.detection.model import Query
from loader.detection.sources import SOURCES

MATCH_ALL: Query = {"match_all": {}}
MATCH_NONE: Query = {"match_none": {}}

#: Lucene refuses more clauses than this in one query (``indices.query.bool.max_clause_count``).
MAX_CLAUSES = 1024
#: ``index.max_terms_count``.
MAX_TERMS = 65_536
#: ``index.max_regex_length``.
MAX_REGEXP = 1000
#: From this many patterns on one field they become few regular expressions; in a crowd of conditions, from two.
_PACK_FROM = 64
_CROWD = 256


@cache
def _q() -> Any:
    # Imported late: it brings a whole client along, a third of a second that commands without rules need not pay.
    from elasticsearch_dsl import Q

    return Q


def leaf(kind: str, field: str, body: object) -> Query:
    """Return ``{kind: {field: body}}``, for term, terms, prefix, wildcard, regexp, range."""
    built: Query = _q()(kind, **{field: body}).to_dict()
    return built


def exists(field: str) -> Query:
    """Return the query for documents with a value in ``field``."""
    built: Query = _q()("exists", field=field).to_dict()
    return built


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition. ``exact`` is in the evaluator's dialect and always says what is meant."""

    upper: Query
    lower: Query
    exact: Query

    @classmethod
    def of(cls, query: Query) -> Clause:
        """Return the clause of a query that says exactly what is meant."""
        return cls(query, query, query)

    @classmethod
    def within(cls, upper: Query, exact: Query, lower: Query | None = None) -> Clause:
        """Return the clause of something the server can only bound: ``upper`` matches it and more."""
        return cls(upper, MATCH_NONE if lower is None else lower, exact)

    @property
    def is_exact(self) -> bool:
        """Say whether the server alone can decide."""
        return self.exact is self.upper or self.exact == self.upper


def both(clauses: Sequence[Clause]) -> Clause:
    """Return the conjunction."""
    return _combine(clauses, all_of)


def either(clauses: Sequence[Clause]) -> Clause:
    """Return the disjunction."""
    return _combine(clauses, any_of)


def negated(clause: Clause) -> Clause:
    """Return the negation: the bounds change places."""
    if clause.is_exact:
        return Clause.of(none_of(clause.upper))
    return Clause(none_of(clause.lower), none_of(clause.upper), none_of(clause.exact))


def _combine(clauses: Sequence[Clause], join: Any) -> Clause:
    exact = join([clause.exact for clause in clauses])
    if all(clause.is_exact for clause in clauses):
        return Clause.of(exact)
    return Clause(join([clause.upper for clause in clauses]), join([clause.lower for clause in clauses]), exact)


def all_of(queries: Iterable[Query]) -> Query:
    """Return the conjunction of server queries, in filter context, flat."""
    wanted: list[Query] = []
    unwanted: list[Query] = []
    for query in queries:
        if query == MATCH_NONE:
            return MATCH_NONE
        if query == MATCH_ALL:
            continue
        body = query.get("bool")
        if body is not None and "should" not in body:
            wanted += body.get("filter", [])
            unwanted += body.get("must_not", [])
        else:
            wanted.append(query)
    wanted, unwanted = _distinct(wanted), _distinct(unwanted)
    if not unwanted and len(wanted) <= 1:
        return wanted[0] if wanted else MATCH_ALL
    parts: dict[str, list[Query]] = {}
    if wanted:
        parts["filter"] = wanted
    if unwanted:
        parts["must_not"] = unwanted
    return _bool(parts)


def any_of(queries: Iterable[Query]) -> Query:
    """Return the disjunction of server queries: terms of one field in one ``terms``, many patterns in few."""
    flat: list[Query] = []
    for query in queries:
        if query == MATCH_ALL:
            return MATCH_ALL
        if query == MATCH_NONE:
            continue
        body = query.get("bool")
        if body is not None and set(body) == {"should", "minimum_should_match"}:
            flat += body["should"]
        else:
            flat.append(query)
    flat = _packed(_joined_terms(_distinct(flat)))
    if len(flat) <= 1:
        return flat[0] if flat else MATCH_NONE
    return _bool({"should": flat, "minimum_should_match": 1})


def none_of(query: Query) -> Query:
    """Return the negation of a server query."""
    if query == MATCH_ALL:
        return MATCH_NONE
    if query == MATCH_NONE:
        return MATCH_ALL
    body = query.get("bool")
    if body is not None and set(body) == {"must_not"} and len(body["must_not"]) == 1:
        inner: Query = body["must_not"][0]
        return inner
    if body is not None and set(body) == {"should", "minimum_should_match"}:
        return _bool({"must_not": body["should"]})
    return _bool({"must_not": [query]})


def count_clauses(query: Query) -> int:
    """Return how many clauses Lucene counts in ``query``."""
    body = query.get("bool")
    if body is None:
        return 1
    parts = (body.get(name, []) for name in ("filter", "must_not", "should"))
    return sum(count_clauses(part) for group in parts for part in group)


def _bool(parts: dict[str, Any]) -> Query:
    # Q objects of the parts would be built from their dictionaries again, so only the outermost one is.
    return {"bool": parts}


def _distinct(queries: Iterable[Query]) -> list[Query]:
    return list({repr(query): query for query in queries}.values())


def _joined_terms(queries: list[Query]) -> list[Query]:
    values: dict[str, dict[Any, None]] = {}
    joined: list[Query | str] = []
    for query in queries:
        found = _plain_terms(query)
        if found is None:
            joined.append(query)
            continue
        field, terms = found
        if field not in values:
            joined.append(field)
        values.setdefault(field, {}).update(dict.fromkeys(terms))
    result: list[Query] = []
    for item in joined:
        if isinstance(item, str):
            result += _terms(item, list(values[item]))
        else:
            result.append(item)
    return result


def _plain_terms(query: Query) -> tuple[str, list[Any]] | None:
    if "term" in query:
        ((field, value),) = query["term"].items()
        return None if isinstance(value, dict) else (field, [value])
    if "terms" in query:
        ((field, several),) = query["terms"].items()
        return field, several
    return None


def _terms(field: str, values: list[Any]) -> Iterator[Query]:
    if len(values) == 1:
        yield leaf("term", field, values[0])
        return
    for start in range(0, len(values), MAX_TERMS):
        yield {"terms": {field: values[start : start + MAX_TERMS]}}


@cache
def _wildcard_fields() -> frozenset[str]:
    """Return the fields on which ``regexp`` is not to be trusted."""
    schemas = [schema_of(source) for source in SOURCES]
    return frozenset(field.name for schema in schemas for field in schema.fields.values() if field.kind == "wildcard")


def _packed(queries: list[Query]) -> list[Query]:
    """Turn very many patterns on one keyword field into regular expressions of the length the server allows."""
    groups: dict[str, list[Query]] = {}
    for query in queries:
        if "prefix" in query or "wildcard" in query:
            (field,) = next(iter(query.values()))
            if field not in _wildcard_fields():
                groups.setdefault(field, []).append(query)
    most = 1 if len(queries) > _CROWD else _PACK_FROM
    crowded = {field for field, group in groups.items() if len(group) > most}
    if not crowded:
        return queries
    packed = {id(query) for field in crowded for query in groups[field]}
    rest = [query for query in queries if id(query) not in packed]
    for field in sorted(crowded):
        rest += union_of_patterns(groups[field], MAX_REGEXP)
    return rest
