"""Text conditions: equals, wildcards, case, regular expressions, on every kind of text this SIEM indexes.

Three kinds hold text: keyword fields (with a lower-case sub-field, or lower case themselves, or neither), wildcard
fields (lower case), and leaves of payloads (``path=value``, lower case). Where only lower case is indexed, a
condition on case is bounded by the one without and verified on ``_source``.

On OpenSearch's wildcard fields, ``term`` misses the empty string and ``regexp`` and ``prefix`` mishandle escapes
(3.8.0): only ``wildcard`` queries are sent there, and regular expressions are bounded by one and verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loader.detection.automaton import is_affordable
from loader.detection.clauses import (
    MATCH_NONE,
    MAX_REGEXP,
    Clause,
    all_of,
    any_of,
    either,
    exists,
    leaf,
    none_of,
)
from loader.detection.fields import Field, Leaf, Schema
from loader.detection.lowercase import has_case, lower
from loader.detection.lucene import ANY, escape_regexp, escape_wildcard, folded_regexp, wildcard_to_regexp
from loader.detection.model import Query
from loader.detection.regex import Expression
from loader.detection.unsupported import UnsupportedError

#: A Sigma value: pieces of text, and ``*`` and ``?`` as :class:`Wild`.
Wild = Literal["*", "?"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a value: literal ``text``, or a wildcard when ``wild`` is set."""

    text: str = ""
    wild: Wild | None = None


Value = Sequence[Piece]

#: So many single wildcards never take a server too much.
_FEW = 5
#: Between a payload's name and the ``=`` of one of its leaves: any path below it.
_BELOW = r"(\.([^=\\]|\\.)*)?"


def pattern_of(value: Value) -> str:
    """Return the value as a ``wildcard`` pattern."""
    return "".join(piece.wild or escape_wildcard(piece.text) for piece in value)


def place(target: Field | Leaf) -> dict[str, str]:
    """Return where the evaluator finds the values of ``target``."""
    if isinstance(target, Field):
        return {"field": target.name}
    return {"under" if target.whole else "leaf": target.path}


def verified(target: Field | Leaf, **condition: Any) -> Query:
    """Return a condition of the evaluator's dialect: one that only ``_source`` can decide."""
    return {"siem": {**place(target), **condition}}


def present(target: Field | Leaf, schema: Schema) -> Query:
    """Return the query for events in which ``target`` has a value that is not null."""
    if isinstance(target, Field):
        return exists(target.name)
    name, path = _leaves(schema), lower(target.path)
    return any_of([leaf("prefix", name, {"value": f"{path}="}), leaf("prefix", name, {"value": f"{path}."})])


def there(target: Field | Leaf, schema: Schema) -> Query:
    """Return the query for events that have ``target`` at all. In payloads that includes null, in fields it cannot."""
    if isinstance(target, Field):
        return exists(target.name)
    return any_of([leaf("term", _leaves(schema), lower(target.path)), present(target, schema)])


def matches(target: Field | Leaf, value: Value, *, cased: bool, schema: Schema) -> Clause:
    """Return the clause for ``target`` being ``value``."""
    if sum(piece.wild == "?" for piece in value) > _FEW and not is_affordable(wildcard_to_regexp(pattern_of(value))):
        wider = _joined([Piece(wild="*") if piece.wild else piece for piece in value])
        return Clause.within(
            _matches(target, wider, schema).upper, verified(target, pattern=pattern_of(value), cased=cased)
        )
    insensitive = _matches(target, value, schema)
    if not cased or not has_case("".join(piece.text for piece in value)):
        return insensitive
    if isinstance(target, Field) and target.kind == "keyword" and not target.lowered:
        return Clause.of(_on_keyword(target.name, value))
    return Clause.within(insensitive.upper, verified(target, pattern=pattern_of(value), cased=True))


def _matches(target: Field | Leaf, value: Value, schema: Schema) -> Clause:
    if isinstance(target, Leaf):
        return Clause.of(_on_leaves(target, value, schema))
    if target.kind == "wildcard":
        plain = _without_foreign_case(value)
        query = _on_wildcard(target.name, plain)
        return Clause.of(query) if plain == value else Clause.within(query, verified(target, pattern=pattern_of(value)))
    if target.kind == "keyword":
        name = target.lower or (target.name if target.lowered else None)
        if name:
            return Clause.of(_on_keyword(name, _lowered(value)))
        return Clause.of(_on_bare_keyword(target.name, value))
    raise UnsupportedError(f"{target.name} holds {target.kind} values, which have no text to compare")


def _lowered(value: Value) -> list[Piece]:
    return [Piece(lower(piece.text), piece.wild) for piece in value]


def _is_any(value: Value) -> bool:
    return len(value) > 0 and all(piece.wild == "*" for piece in value)


def _on_keyword(name: str, value: Value, **options: object) -> Query:
    if _is_any(value):
        return exists(name)
    if not any(piece.wild for piece in value):
        text = "".join(piece.text for piece in value)
        return leaf("term", name, {"value": text, **options} if options else text)
    if [piece.wild for piece in value] == [None, "*"]:
        return leaf("prefix", name, {"value": value[0].text, **options})
    return leaf("wildcard", name, {"value": pattern_of(value), **options})


def _on_bare_keyword(name: str, value: Value) -> Query:
    """Compare with a keyword field that has no lower-case form: the server folds ASCII, the rest is spelt out."""
    text = "".join(piece.text for piece in value)
    if not has_case(text):
        return _on_keyword(name, value)
    if all(character.isascii() or not has_case(character) for character in text):
        return _on_keyword(name, value, case_insensitive=True)
    return _regexp(name, "".join({"*": ANY, "?": "."}.get(p.wild or "") or folded_regexp(p.text) for p in value))


def _on_wildcard(name: str, value: Value) -> Query:
    if _is_any(value):
        return exists(name)
    pattern = pattern_of(_lowered(value))
    if not pattern:
        return all_of([exists(name), none_of(leaf("wildcard", name, {"value": "?*"}))])
    # The field's normalizer has made the values lower case on OpenSearch; Elasticsearch's wildcard type has none.
    return leaf("wildcard", name, {"value": pattern, "case_insensitive": True})


def _without_foreign_case(value: Value) -> Value:
    """Replace letters beyond ASCII that have case by ``?``: Elasticsearch's wildcard fields cannot ignore theirs."""
    if not any(has_case(character) for piece in value for character in piece.text if not character.isascii()):
        return value
    pieces: list[Piece] = []
    for piece in value:
        pieces += [Piece(wild="?") if not c.isascii() and has_case(c) else Piece(c) for c in piece.text]
        if piece.wild:
            pieces.append(piece)
    return _joined(pieces)


def _on_leaves(target: Leaf, value: Value, schema: Schema) -> Query:
    name, path = _leaves(schema), lower(target.path)
    if not target.whole:
        return _on_keyword(name, _joined([Piece(f"{path}="), *_lowered(value)]))
    if _is_any(value):
        return present(target, schema)
    wanted = "".join({"*": ANY, "?": "."}.get(p.wild or "") or escape_regexp(p.text) for p in _lowered(value))
    return _regexp(name, f"{escape_regexp(path)}{_BELOW}={wanted}")


def _joined(value: Value) -> list[Piece]:
    joined: list[Piece] = []
    for piece in value:
        if joined and not piece.wild and not joined[-1].wild:
            joined[-1] = Piece(joined[-1].text + piece.text)
        elif not (joined and piece.wild == "*" and joined[-1].wild == "*"):
            joined.append(piece)
    return joined


def _regexp(name: str, expression: str) -> Query:
    if len(expression) > MAX_REGEXP:
        raise UnsupportedError(
            f"the pattern becomes a regular expression of {len(expression)} characters; servers allow {MAX_REGEXP}",
            hint="Split the value, or name the payload's key instead of searching all of it.",
        )
    return leaf("regexp", name, {"value": expression})


def searched(target: Field | Leaf, expression: Expression, schema: Schema) -> Clause:
    """Return the clause for ``expression`` being found somewhere in ``target``."""
    exact = verified(target, regex=expression.pattern, flags=expression.flags)
    if isinstance(target, Leaf):
        head = escape_regexp(lower(target.path)) + (_BELOW if target.whole else "") + "="
        return _searched_on(_leaves(schema), head, True, expression, exact, present(target, schema))
    if target.kind == "wildcard":
        upper = any_of(
            [
                exists(target.name)
                if set(pattern) <= {"*"}
                else leaf("wildcard", target.name, {"value": pattern, "case_insensitive": True})
                for pattern in expression.wildcards()
            ]
        )
        return Clause.within(upper, exact)
    if target.kind == "keyword":
        if expression.ignores_case and target.lower:
            return _searched_on(target.lower, "", True, expression, exact, exists(target.name))
        return _searched_on(target.name, "", target.lowered, expression, exact, exists(target.name))
    if target.kind in ("date", "boolean", "integer", "float", "ip"):
        return Clause.within(exists(target.name), exact)
    raise UnsupportedError(f"{target.name} holds {target.kind} values: no regular expression can be searched there")


def _searched_on(name: str, head: str, lowered: bool, expression: Expression, exact: Query, otherwise: Query) -> Clause:
    translated = expression.lucene(lowered=lowered)
    value = head + (f"({translated.value})" if head else translated.value)
    if len(value) > MAX_REGEXP:
        return Clause.within(otherwise, exact)
    query = leaf("regexp", name, {"value": value}) if translated.value != ANY or head else exists(name)
    return Clause.of(query) if translated.exact else Clause.within(query, exact)


def anywhere(value: Value, schema: Schema, names: Sequence[str]) -> Clause:
    """Return the clause for a keyword (a value without a field): found inside any text of the event, like grep.

    ``names`` are the fields the log type's field map leads to; of leaves, values are searched, not keys.
    """
    inside = _joined([Piece(wild="*"), *value, Piece(wild="*")])
    clauses = []
    for name in names:
        target = schema.find(name)
        if isinstance(target, Field) and target.kind in ("keyword", "wildcard"):
            clauses.append(_matches(target, inside, schema))
    if schema.source.payloads:
        wanted = "".join({"*": ANY, "?": "."}.get(p.wild or "") or escape_regexp(p.text) for p in _lowered(inside))
        clauses.append(Clause.of(_regexp(_leaves(schema), rf"([^=\\]|\\.)*={wanted}")))
    return either(clauses)


def absent(target: Field | Leaf, schema: Schema) -> Clause:
    """Return the clause for Sigma's ``null``: not there, or JSON null."""
    return Clause.of(none_of(present(target, schema)))


def nothing() -> Clause:
    """Return the clause that matches no event."""
    return Clause.of(MATCH_NONE)


def _leaves(schema: Schema) -> str:
    if schema.source.payloads is None:
        raise UnsupportedError(f"{schema.source.name} has no payloads to search")
    return schema.source.payloads.field
