"""What an answer of the cluster means for one document: by the error's type, not by its status."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any


class Outcome(Enum):
    """What became of a document in one request."""

    INDEXED = "indexed"
    DUPLICATE = "duplicate"
    #: Can never be indexed as it is: rendered again with care, then dead-lettered.
    REJECTED = "rejected"
    #: The cluster is busy: this document, and only this one, is sent again.
    RETRY = "retry"
    #: Something a person or time has to cure (a block, a limit, a permission): the message goes back to the queue.
    HOLD = "hold"


_REJECTED = frozenset(
    {
        "mapper_parsing_exception",
        "document_parsing_exception",
        "strict_dynamic_mapping_exception",
        "max_bytes_length_exceeded_exception",
        "parsing_exception",
        "x_content_parse_exception",
        "json_parse_exception",
        "x_content_e_o_f_exception",
        # Elasticsearch, with status 500, of a document that is no JSON object.
        "not_x_content_exception",
    }
)
_RETRY = frozenset(
    {
        "es_rejected_execution_exception",
        "rejected_execution_exception",
        "opensearch_rejected_execution_exception",
        "circuit_breaking_exception",
        "unavailable_shards_exception",
        "process_cluster_event_timeout_exception",
        "timeout_exception",
        "no_shard_available_action_exception",
        "node_closed_exception",
        "node_disconnected_exception",
        "primary_missing_exception",
    }
)
_TERM_TOO_LONG = ("immense term", "max_bytes_length_exceeded", "bytes can be at most 32766")


_CREATED: dict[str, Any] = {"create": {"status": 201}}


def all_created(answer: Any, count: int) -> bool:
    """Tell whether a bulk answer says of each of ``count`` documents that it was created, and nothing else.

    That is what nearly every answer says; it costs a fraction of looking at each.
    """
    listed = answer.get("items") if isinstance(answer, dict) else None
    return isinstance(listed, list) and len(listed) == count == listed.count(_CREATED)


def items_of(answer: Any, count: int, actions: Sequence[str] = ("create",)) -> list[dict[str, Any]] | None:
    """Return what a bulk answer says of each of ``count`` documents that were sent with one of ``actions``.

    ``None`` if it does not say so of each: a proxy's page, or an answer to something else.
    """
    listed = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(listed, list) or len(listed) != count:
        return None
    found = [
        next((entry[action] for action in actions if action in entry), None) if isinstance(entry, dict) else None
        for entry in listed
    ]
    usable = [entry for entry in found if isinstance(entry, dict) and isinstance(entry.get("status"), int)]
    return usable if len(usable) == count else None


def classify(item: dict[str, Any]) -> tuple[Outcome, str, str]:
    """Return the outcome, the error's type and its reason, of one entry of a bulk answer (its ``create`` object)."""
    status = int(item.get("status", 0))
    error = item.get("error")
    if not error:
        return (Outcome.INDEXED, "", "") if status in (200, 201) else (Outcome.RETRY, f"status_{status}", "")
    kind, reason = error_of(error)
    if kind == "version_conflict_engine_exception" and status == 409:
        return Outcome.DUPLICATE, kind, reason
    return of_error(status, kind, reason), kind, reason


def of_error(status: int, kind: str, reason: str) -> Outcome:
    """Return the outcome of a refusal with this HTTP status, error type and reason."""
    if kind in _REJECTED:
        return Outcome.REJECTED
    if kind == "illegal_argument_exception" and any(mark in reason for mark in _TERM_TOO_LONG):
        return Outcome.REJECTED
    if kind == "cluster_block_exception":
        # A full disk answers 429 too, but no retry of ours empties it.
        return Outcome.HOLD
    if kind in _RETRY or status == 429 or status >= 500:
        return Outcome.RETRY
    return Outcome.HOLD


def error_of(error: Any) -> tuple[str, str]:
    """Return type and reason (with the causes') of an error object of OpenSearch or Elasticsearch."""
    if not isinstance(error, dict):
        return "unknown", str(error)
    reasons: list[str] = []
    cause: Any = error
    while isinstance(cause, dict):
        if cause.get("reason"):
            reasons.append(str(cause["reason"]))
        cause = cause.get("caused_by")
    return str(error.get("type", "unknown")), ": ".join(reasons)
