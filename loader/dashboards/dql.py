"""DQL, the query language of the search bar: parsed, and turned into the query the screen would send.

The grammar and the translation follow what OpenSearch Dashboards does, so that a query that passes here means
there what it means here. Queries in nested documents (``field: { … }``) are refused: no mapping of ours has any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, cast

from loader.dashboards.fields import Field
from loader.errors import DashboardError

Operator = Literal["lt", "lte", "gt", "gte"]


@dataclass(frozen=True, slots=True)
class Is:
    """``field: value``, with None as the field of a bare value. In a wildcard's value ``\\*`` is a plain star."""

    field: str | None
    value: str | bool | int | float | None
    kind: Literal["phrase", "literal", "wildcard"]


@dataclass(frozen=True, slots=True)
class Range:
    """``field >= value``."""

    field: str
    operator: Operator
    value: str | bool | int | float | None


@dataclass(frozen=True, slots=True)
class Group:
    """Several nodes joined by ``and`` or ``or``, or one node under ``not``."""

    joined_by: Literal["and", "or", "not"]
    children: tuple[Node, ...]


Node = Is | Range | Group
_Partial = Callable[[str | None], Node]

_SPACE = re.compile(r"[ \t\r\n]*")
_OR = re.compile(r"[ \t\r\n]+or[ \t\r\n]+", re.IGNORECASE)
_AND = re.compile(r"[ \t\r\n]+and[ \t\r\n]+", re.IGNORECASE)
_NOT = re.compile(r"not[ \t\r\n]+", re.IGNORECASE)
_RANGE = re.compile(r"<=|>=|<|>")
_QUOTED = re.compile(r'"((?:\\[trn]|\\[\\"]|[^"])*)"')
_KEYWORD = r"(?:[ \t\r\n]+(?:or|and)[ \t\r\n]+|not[ \t\r\n]+)"
_UNQUOTED = re.compile(rf'(?:\\[trn]|\\[\\():<>"*{{}}]|\\(?:or|and|not)|(?!{_KEYWORD})[^\\():<>"{{}}])+', re.IGNORECASE)
_NUMBER = re.compile(r"^(-?[1-9]+\d*([.]\d+)?)$|^(-?0[.]\d*[1-9]+)$|^0$|^0.0$|^[.]\d{1,}$")
_ESCAPED = re.compile(r"\\(or|and|not|.)", re.IGNORECASE | re.DOTALL)
_BLANKS = {"t": "\t", "r": "\r", "n": "\n"}
_OPERATORS: dict[str, Operator] = {"<=": "lte", ">=": "gte", "<": "lt", ">": "gt"}
_LUCENE_SPECIAL = re.compile(r'([+\-=&|><!(){}\[\]^"~?:\\/])')


def parse(text: str) -> Node | None:
    """Return the query as a tree, or None for an empty one, which matches everything.

    Raises:
        DashboardError: it is no DQL; the message says what was expected and at which character.
    """
    return _Parser(text).query()


def conditions(node: Node | None) -> Iterator[Is | Range]:
    """Yield every condition of the tree, left to right."""
    if isinstance(node, Group):
        for child in node.children:
            yield from conditions(child)
    elif node is not None:
        yield node


def to_search(node: Node | None, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the query body the screen sends for the tree. ``fields`` are those of the index pattern."""
    if node is None:
        return {"match_all": {}}
    if isinstance(node, Group):
        children = [to_search(child, fields) for child in node.children]
        if node.joined_by == "or":
            return {"bool": {"should": children, "minimum_should_match": 1}}
        return {"bool": {"filter" if node.joined_by == "and" else "must_not": children}}
    if isinstance(node, Range):
        return {"range": {node.field: {node.operator: node.value}}}
    return _is_to_search(node, fields)


def _is_to_search(node: Is, fields: Mapping[str, Field]) -> dict[str, Any]:
    if node.kind == "wildcard":
        if node.value == "*":
            return {"exists": {"field": node.field}}
        escaped = _LUCENE_SPECIAL.sub(r"\\\1", str(node.value).replace(r"\*", "\0")).replace("\0", r"\*")
        return {"query_string": {"fields": [node.field], "query": escaped}}
    if node.field is None:
        return {"multi_match": {"type": "best_fields", "query": node.value, "lenient": True}}
    if node.field in fields and fields[node.field].type == "date":
        return {"range": {node.field: {"gte": node.value, "lte": node.value}}}
    return {"match_phrase" if node.kind == "phrase" else "match": {node.field: node.value}}


class _Parser:
    """Recursive descent over one query."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def query(self) -> Node | None:
        self._take(_SPACE)
        if self._at == len(self._text):
            return None
        node = self._alternatives()
        self._take(_SPACE)
        if self._at < len(self._text):
            self._fail("`and`, `or` or the end")
        return node

    def _alternatives(self) -> Node:
        return self._joined("or", _OR, lambda: self._joined("and", _AND, self._negated))

    def _joined(self, by: Literal["and", "or"], separator: re.Pattern[str], part: Callable[[], Node]) -> Node:
        nodes = [part()]
        while self._take(separator):
            nodes.append(part())
        return nodes[0] if len(nodes) == 1 else Group(by, tuple(nodes))

    def _negated(self) -> Node:
        return Group("not", (self._bracketed(),)) if self._take(_NOT) else self._bracketed()

    def _bracketed(self) -> Node:
        if not self._symbol("("):
            return self._condition()
        self._take(_SPACE)
        node = self._alternatives()
        self._close()
        return node

    def _condition(self) -> Node:
        value, kind = self._literal("a field or a value")
        self._take_if_symbol_follows()
        if operator := self._take(_RANGE):
            self._take(_SPACE)
            bound, _ = self._literal("a value")
            return Range(str(value), _OPERATORS[operator], bound)
        if not self._symbol(":"):
            return Is(None, value, kind)
        self._take(_SPACE)
        if self._text.startswith("{", self._at):
            self._fail("a value: nested queries are not used here")
        return self._values()(str(value))

    def _take_if_symbol_follows(self) -> None:
        """Skip blanks before ``:`` or a comparison, and leave them where they may belong to ``and`` or ``or``."""
        end = cast("re.Match[str]", _SPACE.match(self._text, self._at)).end()
        if end < len(self._text) and self._text[end] in ":<>":
            self._at = end

    def _values(self) -> _Partial:
        if not self._symbol("("):
            value, kind = self._literal("a value")
            return lambda field: Is(field, value, kind)
        self._take(_SPACE)
        partial = self._joined_values("or", _OR)
        self._close()
        return partial

    def _joined_values(self, by: Literal["and", "or"], separator: re.Pattern[str]) -> _Partial:
        part = self._negated_values if by == "and" else lambda: self._joined_values("and", _AND)
        parts = [part()]
        while self._take(separator):
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        return lambda field: Group(by, tuple(each(field) for each in parts))

    def _negated_values(self) -> _Partial:
        if not self._take(_NOT):
            return self._values()
        inner = self._values()
        return lambda field: Group("not", (inner(field),))

    def _literal(self, wanted: str) -> tuple[str | bool | int | float | None, Literal["phrase", "literal", "wildcard"]]:
        if quoted := _QUOTED.match(self._text, self._at):
            self._at = quoted.end()
            return _unescaped(quoted[1]), "phrase"
        found = self._take(_UNQUOTED)
        text = (found or "").strip(" \t\r\n")
        if not text:
            self._fail(wanted)
        if re.search(r"(?<!\\)\*", text):
            return _ESCAPED.sub(lambda match: match[0] if match[1] == "*" else _character(match), text), "wildcard"
        plain = _unescaped(text)
        words: dict[str, bool | None] = {"null": None, "true": True, "false": False}
        if text in words:
            return words[text], "literal"
        if _NUMBER.match(plain):
            return (float(plain) if "." in plain else int(plain)), "literal"
        return plain, "literal"

    def _close(self) -> None:
        self._take(_SPACE)
        if not self._symbol(")"):
            self._fail("`)`")

    def _symbol(self, symbol: str) -> bool:
        if not self._text.startswith(symbol, self._at):
            return False
        self._at += len(symbol)
        return True

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        match = pattern.match(self._text, self._at)
        if match is None:
            return None
        self._at = match.end()
        return match[0]

    def _fail(self, wanted: str) -> NoReturn:
        rest = self._text[self._at : self._at + 20] or "the end"
        raise DashboardError(f"DQL: expected {wanted} at character {self._at + 1}, found {rest!r}", where=self._text)


def _character(match: re.Match[str]) -> str:
    return _BLANKS.get(match[1], match[1])


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(_character, text)
