"""What an export is: documents for another system, and the rules it could not take, each with file, line and reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loader.detection.model import CompiledCorrelation, CompiledRule, Rule

Target = Literal["alerting", "kibana", "athena", "logs-insights"]
TARGETS: tuple[Target, ...] = ("alerting", "kibana", "athena", "logs-insights")
Node = CompiledRule | CompiledCorrelation


@dataclass(frozen=True, slots=True)
class Document:
    """One file of an export: ``body`` is a JSON object, or text as it is to be written.

    ``notes`` say where the target's version of the rule differs from the rule.
    """

    name: str
    body: dict[str, Any] | str
    rule: Rule | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that ``target`` cannot express. ``where`` is ``rule.yml:12``."""

    target: Target
    rule: str
    where: str
    reason: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: not exported to {self.target}: {self.reason}"


@dataclass(frozen=True)
class Export:
    """What came of an export, in the order of the rules' names; ``preface`` holds what all the rules need (a table)."""

    target: Target
    documents: tuple[Document, ...] = ()
    refused: tuple[Refusal, ...] = ()
    preface: tuple[Document, ...] = ()

    def as_dict(self, *, bodies: bool) -> dict[str, Any]:
        """Return the summary for scripts, with what was written itself if ``bodies``."""
        return {
            "target": self.target,
            "preface": [_plain(one, bodies) for one in self.preface],
            "exported": [_plain(one, bodies) for one in self.documents],
            "refused": [
                {"rule": one.rule, "where": one.where, "reason": one.reason, "hint": one.hint} for one in self.refused
            ],
        }


class UnsaidError(Exception):
    """A rule that a target cannot express; caught by :func:`collect`. ``path`` is the key of the rule to point at."""

    def __init__(self, reason: str, *path: str | int, hint: str | None = None, where: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.hint = hint
        self.where = where


def file_name(rule: Rule, suffix: str) -> str:
    """Return the file a rule is exported to: letters, digits and ``._-`` only."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in rule.name).strip(".-")
    return f"{safe or rule.uuid}.{suffix}"


def bounds_in_words(bounds: Iterable[tuple[str, float]]) -> str:
    """Return ``>= 5 and < 10``."""
    signs = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "=", "neq": "!="}
    return " and ".join(f"{signs[name]} {number(value)}" for name, value in bounds)


def number(value: float) -> str:
    """Return a number as all the targets write it: ``5``, not ``5.0``."""
    return str(int(value)) if value == int(value) else repr(value)


def one_line(text: str) -> str:
    """Return ``text`` on one line, without characters that end a comment, a line or a terminal's patience."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _plain(one: Document, bodies: bool) -> dict[str, Any]:
    plain: dict[str, Any] = {"file": one.name, "notes": list(one.notes)}
    if one.rule is not None:
        plain |= {"rule": one.rule.name, "id": one.rule.uuid, "level": one.rule.level, "title": one.rule.title}
    return plain | ({"content": one.body} if bodies else {})


def distinct(notes: Sequence[str]) -> tuple[str, ...]:
    """Return ``notes``, each once."""
    return tuple(dict.fromkeys(notes))
