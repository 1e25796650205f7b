"""Lucene's pattern languages: writing them safely, and reading what we write back into Python's.

Regular expressions: https://lucene.apache.org/core/10_0_0/core/org/apache/lucene/util/automaton/RegExp.html. They match
the whole value, ``.`` is any character (newline too), and ``# @ & < > ~ "`` are operators unless escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from loader.detection.lowercase import variants
from loader.detection.model import Query

_OPERATORS = frozenset('.?+*|{}[]()"\\#@&<>~^$-')
ANY = ".*"


def escape_wildcard(text: str) -> str:
    """Return ``text`` so that a ``wildcard`` query takes it literally."""
    return re.sub(r"([*?\\])", r"\\\1", text)


def escape_regexp(text: str) -> str:
    """Return ``text`` so that a ``regexp`` query takes it literally."""
    return "".join(f"\\{character}" if character in _OPERATORS else character for character in text)


def folded_regexp(text: str) -> str:
    """Return an expression for ``text`` in any case, for keyword fields that have no lower-case form."""
    known = variants()
    return "".join(f"[{known[c]}]" if c in known else escape_regexp(c) for c in text)


def wildcard_to_regexp(pattern: str) -> str:
    """Return a ``wildcard`` pattern as the same ``regexp``."""
    parts = []
    for kind, text in wildcard_tokens(pattern):
        parts.append({"*": ".*", "?": "."}.get(kind) or escape_regexp(text))
    return "".join(parts)


def wildcard_tokens(pattern: str) -> Iterator[tuple[str, str]]:
    """Split a ``wildcard`` pattern into ``("*", "")``, ``("?", "")`` and ``("text", character)``."""
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            yield "text", next(characters, "\\")
        elif character in "*?":
            yield character, ""
        else:
            yield "text", character


@lru_cache(maxsize=4096)
def compile_wildcard(pattern: str, *, ignore_ascii_case: bool = False) -> re.Pattern[str]:
    """Return Python's expression (for ``fullmatch``) for a ``wildcard`` pattern."""
    parts = [{"*": ".*", "?": "."}.get(kind) or re.escape(text) for kind, text in wildcard_tokens(pattern)]
    flags = re.DOTALL | (re.IGNORECASE | re.ASCII if ignore_ascii_case else 0)
    return re.compile("".join(parts), flags)


@lru_cache(maxsize=4096)
def compile_regexp(pattern: str, *, ignore_ascii_case: bool = False) -> re.Pattern[str]:
    """Return Python's expression (for ``fullmatch``) for a ``regexp`` of the kind this project writes.

    Raises:
        ValueError: the expression uses an operator that this project never writes.
    """
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            parts.append(re.escape(pattern[position + 1]))
            position += 2
        elif character == "[":
            end, text = _class(pattern, position)
            parts.append(text)
            position = end
        elif character == "{":
            end = pattern.index("}", position) + 1
            parts.append(pattern[position:end])
            position = end
        elif character == "#":
            parts.append("(?!)")
            position += 1
        elif character in '@&<>~"':
            raise ValueError(f"unescaped operator {character} in {pattern!r}")
        else:
            parts.append(character if character in ".?+*|()" else re.escape(character))
            position += 1
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE | re.ASCII if ignore_ascii_case else 0))


def _class(pattern: str, start: int) -> tuple[int, str]:
    position = start + 1
    parts = ["["]
    if pattern[position] == "^":
        parts.append("^")
        position += 1
    while pattern[position] != "]":
        if pattern[position] == "\\":
            position += 1
            parts.append(re.escape(pattern[position]))
        elif pattern[position] == "-":
            parts.append("-")
        else:
            parts.append(re.escape(pattern[position]))
        position += 1
    return position + 1, "".join(parts) + "]"


def union_of_patterns(queries: Iterable[Query], limit: int) -> list[Query]:
    """Return few ``regexp`` queries, no expression longer than ``limit``, for many ``prefix`` and ``wildcard`` queries.

    Only patterns of one text with ``*`` before, after or around it are joined, by kind: ``.*a.*|.*b.*`` explodes when
    Lucene makes it deterministic, ``.*(a|b).*`` does not. The others come back as they are.
    """
    left: list[Query] = []
    texts: dict[tuple[str, bool, bool, bool], list[str]] = {}
    for query in queries:
        ((kind, body),) = query.items()
        ((field, options),) = body.items()
        pattern = options["value"]
        tokens = list(wildcard_tokens(pattern)) if kind == "wildcard" else [("text", c) for c in pattern] + [("*", "")]
        before, after = tokens[0][0] == "*", len(tokens) > 1 and tokens[-1][0] == "*"
        inner = tokens[before : len(tokens) - after]
        if inner and all(sort == "text" for sort, _ in inner):
            folds = bool(options.get("case_insensitive"))
            texts.setdefault((field, before, after, folds), []).append(
                escape_regexp("".join(text for _, text in inner))
            )
        else:
            left.append(query)
    for (field, before, after, folds), alternatives in texts.items():
        frame = (ANY if before else "") + "({})" + (ANY if after else "")
        expressions = (frame.replace("{}", joined) for joined in _joined(alternatives, limit - len(frame)))
        more = {"case_insensitive": True} if folds else {}
        left += [{"regexp": {field: {"value": expression, **more}}} for expression in expressions]
    return left


def _joined(alternatives: Iterable[str], limit: int) -> list[str]:
    unions: list[str] = []
    for text in alternatives:
        if unions and len(unions[-1]) + len(text) + 1 <= limit:
            unions[-1] += f"|{text}"
        else:
            unions.append(text)
    return unions
