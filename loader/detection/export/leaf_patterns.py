"""Patterns over a payload's leaves (``path=value``), taken apart again: the path is literal, the value a pattern."""

from __future__ import annotations

from collections.abc import Sequence

from loader.detection.export.model import UnsaidError
from loader.detection.lucene import wildcard_tokens

WHOLE = "it searches all of a payload; there it must name the key"
#: A unit of a pattern: what it stands for (``None``: more than one text) and how it is written.
Unit = tuple[str | None, str]


def unescaped(path: str) -> str:
    """Return a leaf's path as the payload has it."""
    return path.replace("\\=", "=").replace("\\\\", "\\")


def wildcard_units(pattern: str) -> list[Unit]:
    """Return the units of a ``wildcard`` pattern."""
    units: list[Unit] = []
    for kind, text in wildcard_tokens(pattern):
        written = kind if kind != "text" else f"\\{text}" if text in "*?\\" else text
        units.append((text if kind == "text" else None, written))
    return units


def regexp_units(pattern: str) -> list[Unit]:
    """Return the units of a ``regexp``."""
    units: list[Unit] = []
    position = 0
    while position < len(pattern):
        if pattern[position] == "\\":
            units.append((pattern[position + 1], pattern[position : position + 2]))
            position += 2
        else:
            plain = pattern[position] not in '.?+*|{}[]()#@&<>~"^$'
            units.append((pattern[position] if plain else None, pattern[position]))
            position += 1
    return units


def split_pattern(units: Sequence[Unit], pattern: str) -> tuple[str, str]:
    """Return a leaf's path (escaped as leaves are) and the pattern of its value.

    Raises:
        UnsaidError: the path is not literal up to the first ``=`` that is a sign.
    """
    path = ""
    for position, (text, _) in enumerate(units):
        if text is None:
            raise UnsaidError(WHOLE)
        if text == "=" and (len(path) - len(path.rstrip("\\"))) % 2 == 0:
            return path, "".join(written for _, written in units[position + 1 :])
        path += text
    raise UnsaidError(f"{pattern} names no payload's key")
