"""Logs Insights QL, as much of it as exports use, after AWS's documentation: no emulator of AWS runs it.

Grammar: ``or`` below ``and`` below ``not``; a condition is a function, or a field with ``like``, ``=`` or a comparison.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

_TOKEN = re.compile(
    r"""\s+|(?P<regex>/(?:[^/\\]|\\.)*/)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?![\w.]))"""
    r"""|(?P<name>`[^`]+`|[@A-Za-z][A-Za-z0-9.@]*)|(?P<sign><=|>=|!=|[()=<>,])"""
)


def flattened(record: Any, *, booleans: bool = True) -> dict[str, str]:
    """Return a record's fields: members by path, members of lists by number; ``booleans`` as 1 and 0, or as words."""
    return dict(_flatten(record, "", booleans))


def _flatten(node: Any, path: str, booleans: bool) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _flatten(value, f"{path}.{key}" if path else str(key), booleans)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _flatten(value, f"{path}.{number}", booleans)
    elif isinstance(node, bool):
        yield path, str(int(node)) if booleans else str(node).lower()
    elif node is not None:
        yield path, str(node)


def commands(query: str) -> list[str]:
    """Return a query's commands."""
    return query.split("\n| ")


class Condition:
    """One expression of ``filter``."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            assert found, f"no token at {text[position : position + 40]!r}"
            if found.lastgroup:
                self.tokens.append((found.lastgroup, found[0]))
            position = found.end()
        self.at = 0
        self.tree = self._or()
        assert self.at == len(self.tokens), self.tokens[self.at : self.at + 5]

    def holds(self, fields: Mapping[str, str]) -> bool:
        """Say whether a record's fields satisfy it."""
        return _holds(self.tree, fields)

    def _next(self, *texts: str) -> str:
        _, text = self.tokens[self.at]
        assert not texts or text in texts, (text, texts)
        self.at += 1
        return text

    def _peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def _or(self) -> Any:
        parts = [self._and()]
        while self._peek() == "or":
            self._next()
            parts.append(self._and())
        return ("or", *parts) if len(parts) > 1 else parts[0]

    def _and(self) -> Any:
        parts = [self._not()]
        while self._peek() == "and":
            self._next()
            parts.append(self._not())
        return ("and", *parts) if len(parts) > 1 else parts[0]

    def _not(self) -> Any:
        if self._peek() == "not":
            self._next()
            return ("not", self._not())
        if self._peek() == "(":
            self._next()
            inner = self._or()
            self._next(")")
            return inner
        return self._test()

    def _test(self) -> Any:
        name = self._operand()
        if name[0] in ("ispresent", "isIpInSubnet"):
            return name
        sign = self._next("like", "=", "<", "<=", ">", ">=")
        return (sign, name, self._operand())

    def _operand(self) -> Any:
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "name" and self._peek() == "(":
            assert text in ("ispresent", "isIpInSubnet", "tolower"), text
            self._next()
            arguments = [self._operand()]
            while self._next(",", ")") == ",":
                arguments.append(self._operand())
            return (text, *arguments)
        if kind == "name":
            return ("field", text.strip("`"))
        return (kind, text)


def _holds(tree: Any, fields: Mapping[str, str]) -> bool:
    kind, *parts = tree
    if kind in ("and", "or"):
        return (all if kind == "and" else any)(_holds(part, fields) for part in parts)
    if kind == "not":
        return not _holds(parts[0], fields)
    if kind == "ispresent":
        return parts[0][1] in fields
    values = [_value(part, fields) for part in parts]
    assert None not in values, "a missing field is compared: what that is, AWS does not say"
    if kind == "like":
        pattern = values[1][1:-1].replace("\\/", "/")
        return re.search(pattern, values[0]) is not None
    if kind == "isIpInSubnet":
        try:
            return ipaddress.ip_address(values[0]) in ipaddress.ip_network(values[1].strip('"'))
        except ValueError:
            return False
    if kind == "=":
        return bool(values[0] == values[1])
    first, second = float(values[0]), float(values[1])
    return {"<": first < second, "<=": first <= second, ">": first > second, ">=": first >= second}[kind]


def _value(part: Any, fields: Mapping[str, str]) -> Any:
    if part[0] == "field":
        return fields.get(part[1])
    if part[0] == "tolower":
        found = _value(part[1], fields)
        return None if found is None else found.lower()
    return part[1]
