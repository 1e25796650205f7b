"""What occurs at all in a slice: most rules name calls that nobody made, and need not be asked. Pure.

A query over a small part of a large shard costs the server what its conditions cost to prepare against everything in
the shard (each wildcard is compared with every term of its field), however few documents are asked about. Which calls
there are is told for next to nothing, and a query that requires another one finds none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loader.detection.lowercase import lower
from loader.detection.model import Query

#: Fields whose values are told, with the names under which queries ask for them in lower case.
_FIELDS = {"event.action": "event.action.lower", "event.provider": "event.provider.lower"}
_NAMES = {name: field for field, lowered in _FIELDS.items() for name in (field, lowered)}
#: With more values than this nothing is said about a field.
_MOST = 5000
_IGNORED = "_ignored"

#: The aggregations that :func:`read_facets` reads.
AGGREGATIONS: dict[str, Any] = {
    **{field: {"terms": {"field": field, "size": _MOST}} for field in _FIELDS},
    _IGNORED: {"filter": {"exists": {"field": _IGNORED}}},
}


@dataclass(frozen=True, slots=True)
class Facets:
    """Values that occur, in lower case, by field (``None``: too many to say), and whether any was too long."""

    values: Mapping[str, frozenset[str] | None]
    ignored: bool


def read_facets(aggregations: Mapping[str, Any]) -> Facets:
    """Return what an answer to :data:`AGGREGATIONS` says."""
    found: dict[str, frozenset[str] | None] = {}
    for field in _FIELDS:
        terms = aggregations[field]
        whole = terms["sum_other_doc_count"] == 0
        found[field] = frozenset(lower(str(bucket["key"])) for bucket in terms["buckets"]) if whole else None
    return Facets(found, aggregations[_IGNORED]["doc_count"] > 0)


def can_match(query: Query, facets: Facets) -> bool:
    """Return whether a document may match: ``False`` only if ``query`` requires what no document has."""
    ((kind, body),) = query.items()
    if kind == "term":
        ((name, value),) = body.items()
        return _occurs(name, [value], facets)
    if kind == "terms":
        ((name, terms),) = body.items()
        return _occurs(name, terms, facets)
    if kind == "exists":
        return facets.ignored or body["field"] != _IGNORED
    if kind != "bool":
        return True
    if not all(can_match(part, facets) for name in ("filter", "must") for part in _listed(body.get(name))):
        return False
    should = _listed(body.get("should"))
    optional = not should or body.get("minimum_should_match", 0 if "filter" in body or "must" in body else 1) == 0
    return optional or any(can_match(part, facets) for part in should)


def _occurs(name: str, terms: Any, facets: Facets) -> bool:
    field = _NAMES.get(name)
    occurring = facets.values[field] if field else None
    if occurring is None or not isinstance(terms, list):
        return True
    # Other forms than plain text (objects with options) are not reasoned about.
    return any(not isinstance(term, str) or lower(term) in occurring for term in terms)


def _listed(clauses: Any) -> list[Query]:
    if clauses is None:
        return []
    return clauses if isinstance(clauses, list) else [clauses]
