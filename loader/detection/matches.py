"""Events that a rule's query found, and how fields are read from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Read with every hit: the event's time as the index holds it, whatever form the source has.
TIME_FIELD: dict[str, str] = {"field": "@timestamp", "format": "epoch_millis"}

#: What of an event an alert shows.
SHOWN_FIELDS: tuple[str, ...] = (
    "@timestamp",
    "event",
    "cloud",
    "user",
    "source",
    "related",
    "siem",
    "aws.cloudtrail.user_identity",
    "aws.cloudtrail.error_code",
)


@dataclass(frozen=True, slots=True)
class Match:
    """One event. ``time`` is its ``@timestamp`` in milliseconds since 1970 (UTC)."""

    index: str
    id: str
    time: int
    source: Mapping[str, Any]


def match_of(hit: Mapping[str, Any]) -> Match:
    """Return the match in one hit of a search that asked for :data:`TIME_FIELD`."""
    return Match(hit["_index"], hit["_id"], int(float(hit["fields"]["@timestamp"][0])), hit.get("_source", {}))


def values(source: Mapping[str, Any], path: str) -> list[Any]:
    """Return the values at ``path`` (``user.name``) in ``source``: through lists, without nulls; keys may hold dots.

    >>> values({"related": {"user": ["a", "b"]}}, "related.user")
    ['a', 'b']
    >>> values({"resources": [{"arn": "x"}, {"arn": None}]}, "resources.arn")
    ['x']
    """
    found: list[Any] = []
    _collect(source, path, found)
    return found


def _collect(node: Any, path: str, found: list[Any]) -> None:
    if isinstance(node, list):
        for item in node:
            _collect(item, path, found)
    elif not path:
        if node is not None:
            found.append(node)
    elif isinstance(node, Mapping):
        if path in node:
            _collect(node[path], "", found)
            return
        end = path.find(".")
        while end != -1:
            if path[:end] in node:
                _collect(node[path[:end]], path[end + 1 :], found)
            end = path.find(".", end + 1)


def first(source: Mapping[str, Any], *paths: str) -> str | None:
    """Return the first value that any of ``paths`` has, as text."""
    for path in paths:
        for value in values(source, path):
            if isinstance(value, (str, int, float)) and value != "":
                return str(value)
    return None
