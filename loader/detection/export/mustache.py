"""Queries that a template engine runs over before the server sees them: nothing in them may be read as a tag.

Alerting renders a monitor's whole query as a Mustache template, for ``{{period_end}}``. A value that holds ``{{`` would
be emptied, or break the monitor: it is written in another form of the same meaning.
"""

from __future__ import annotations

from typing import Any

from loader.detection.clauses import any_of
from loader.detection.export.model import UnsaidError
from loader.detection.lucene import escape_wildcard, wildcard_tokens
from loader.detection.model import Query

_TAG = "{{"


def without_tags(query: Query) -> Query:
    """Return ``query`` with the same meaning and no ``{{`` in any value.

    Raises:
        UnsaidError: there is no such form.
    """
    ((kind, body),) = query.items()
    if kind == "bool":
        return {
            "bool": {
                name: [without_tags(part) for part in parts] if isinstance(parts, list) else parts
                for name, parts in body.items()
            }
        }
    if kind == "exists":
        return query
    ((field, value),) = body.items() if body else (("", ""),)
    if kind == "terms":
        plain = [one for one in value if _TAG not in str(one)]
        tagged = [without_tags({"term": {field: one}}) for one in value if _TAG in str(one)]
        return any_of([*([{"terms": {field: plain}}] if plain else []), *tagged]) if tagged else query
    options: dict[str, Any] = value if isinstance(value, dict) else {}
    text = options.get("value", value)
    if not isinstance(text, str) or _TAG not in text:
        return query
    if kind == "term":
        return {"wildcard": {field: {"value": _braced(escape_wildcard(text))}}}
    if kind == "prefix":
        return {"wildcard": {field: {**options, "value": _braced(escape_wildcard(text)) + "*"}}}
    if kind == "wildcard":
        return {"wildcard": {field: {**options, "value": _braced(text)}}}
    raise UnsaidError("a regular expression holds {{, which Alerting takes for a template's tag")


def _braced(pattern: str) -> str:
    """Escape the braces of a wildcard pattern."""
    parts: list[Any] = []
    for kind, text in wildcard_tokens(pattern):
        parts.append(kind if kind != "text" else f"\\{text}" if text in "*?\\{" else text)
    return "".join(parts)
