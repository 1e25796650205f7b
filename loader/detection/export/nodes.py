"""What every target asks of a rule before it can say it in its own terms."""

from __future__ import annotations

from loader.detection.export.model import UnsaidError, bounds_in_words
from loader.detection.fields import Schema, schema_of
from loader.detection.model import CompiledCorrelation, CompiledRule, Query
from loader.detection.sources import AWS_CLOUDTRAIL, source_for
from loader.detection.window import Window


def exact_query(rule: CompiledRule) -> Query:
    """Return the query of a rule that a search server can decide by itself.

    Raises:
        UnsaidError: documents it finds must be verified.
    """
    if rule.verify is not None:
        raise UnsaidError(
            "the search server can only narrow it down; whether an event is meant must be verified on the document"
            " itself (fieldref, letter case, numbers in text, parts of a time or some regular expressions)",
            "detection", hint="Run it with siem detect.", where=rule.rule.where,
        )  # fmt: skip
    return rule.query


def base_rules(node: CompiledCorrelation, what: str) -> list[CompiledRule]:
    """Return the base rules of a correlation, in the order written. ``what`` is what the target has one of.

    Raises:
        UnsaidError: one is a correlation itself, or they are about different logs.
    """
    bases = [base for base in node.rules.values() if isinstance(base, CompiledRule)]
    if len(bases) != len(node.rules):
        reason = f"it counts what another correlation raises; {what} cannot read another's triggers"
        raise UnsaidError(reason, "correlation", "rules")
    if len({base.index for base in bases}) != 1:
        raise UnsaidError("its base rules are about different logs", "correlation", "rules")
    return bases


def monotone_bounds(window: Window, what: str) -> dict[str, float]:
    """Return the bounds of a window that late events can only satisfy, never undo.

    Raises:
        UnsaidError: they are not such.
    """
    bounds = dict(window.bounds)
    if not set(bounds) <= {"gt", "gte"}:
        raise UnsaidError(
            f"{bounds_in_words(bounds.items())} can become untrue when late files come; {what} takes no alert back",
            "correlation", "condition",
        )  # fmt: skip
    return bounds


def schema_for(rule: CompiledRule) -> Schema:
    """Return the fields of the log a rule is about."""
    return schema_of(source_for(rule.rule.logsource) or AWS_CLOUDTRAIL)
