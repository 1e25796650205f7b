"""Events that a rule's query found, and how fields are read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any

#: Read with every hit: the event's time as the index holds it, whatever form the source has.
TIME_FIELD: dict[str, str] = {"field": "@timestamp", "format": "epoch_millis"}

#: Paths that an alert takes over from its events. All of them are in the alerts' mapping.
TAKEN_PATHS: tuple[str, ...] = (
    "event.category",
    "event.type",
    "event.outcome",
    "event.action",
    "event.provider",
    "event.dataset",
    "event.module",
    "cloud.provider",
    "cloud.account.id",
    "cloud.region",
    "user.id",
    "user.name",
    "user.type",
    "source.address",
    "source.ip",
    "related.user",
    "related.ip",
    "related.hosts",
    "related.hash",
    "aws.cloudtrail.user_identity.arn",
    "aws.cloudtrail.user_identity.type",
    "aws.cloudtrail.error_code",
    "siem.actor.id",
    "siem.actor.name",
    "siem.actor.arn",
    "siem.actor.type",
    "siem.actor.account_id",
    "siem.actor.certainty",
    "siem.session.chain",
)
#: What of an event is read to make an alert of it: those, and what its line of text and its lateness need.
SHOWN_PATHS: tuple[str, ...] = (
    *TAKEN_PATHS,
    "event.ingested",
    "aws.cloudtrail.user_identity.user_name",
    "aws.cloudtrail.user_identity.invoked_by",
)


#: Part of the path of everything that is kept as it came (docs/adr/0002).
PAYLOAD = ".flattened."


class Flat(dict[str, Any]):
    """An event's source reduced to some paths: path → list of values. See :func:`flatten`."""


@dataclass(frozen=True, slots=True)
class Match:
    """One event. ``time`` is its ``@timestamp`` in milliseconds since 1970 (UTC).

    ``events`` is 1, except where the server tells of several at once that agree in what is asked about.
    """

    index: str
    id: str
    time: int
    source: Mapping[str, Any]
    events: int = 1


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
    if isinstance(source, Flat):
        found: list[Any] = source.get(path, [])
        return found
    found = []
    (_collect_dotted if PAYLOAD in path else _collect)(source, path, found)
    return found


def sights_of(bucket: Mapping[str, Any], paths: Sequence[str]) -> list[Match]:
    """Return the first and the last event of a bucket that was asked for with :func:`sighting`."""
    key = bucket["key"]
    flat = Flat({path: [value] for n, path in enumerate(paths) if (value := key[str(n)]) is not None})
    first, last = int(bucket["first"]["value"]), int(bucket["last"]["value"])
    found = [Match("", "", first, flat, bucket["doc_count"])]
    return found if first == last else [*found, Match("", "", last, flat, 0)]


def sighting(paths: Sequence[str], length: int, size: int) -> dict[str, Any]:
    """Return the aggregation that tells events apart by the values of ``paths`` and bins of ``length`` milliseconds.

    Events without a value are told, too. :func:`sights_of` reads its buckets.
    """
    terms = [{str(n): {"terms": {"field": path, "missing_bucket": True}}} for n, path in enumerate(paths)]
    period = {"date_histogram": {"field": "@timestamp", "fixed_interval": f"{length}ms"}}
    ends = {"first": {"min": {"field": "@timestamp"}}, "last": {"max": {"field": "@timestamp"}}}
    return {"composite": {"size": size, "sources": [*terms, {str(len(paths)): period}]}, "aggs": ends}


def flatten(match: Match, paths: Sequence[str]) -> Match:
    """Return ``match`` with nothing but ``paths`` of its source, in a form of which very many fit into memory."""
    flat = Flat()
    plain, payload = _split(tuple(paths))
    _fill(match.source, plain, flat)
    for path in payload:
        if found := values(match.source, path):
            flat[path] = [_shared(value) for value in found]
    return Match(match.index, match.id, match.time, flat)


#: Names of fields, each with the path that ends there (``None``: none does) and the names below it.
_Tree = dict[str, tuple[str | None, "_Tree"]]


@lru_cache(maxsize=256)
def _split(paths: tuple[str, ...]) -> tuple[_Tree, list[str]]:
    """Return the paths of fields as a tree, so that a document is walked once for all, and those into payloads."""
    tree: _Tree = {}
    for path in paths:
        if PAYLOAD in path:
            continue
        place, (*parents, last) = tree, path.split(".")
        for name in parents:
            place = place.setdefault(name, (None, {}))[1]
        place[last] = (path, place[last][1] if last in place else {})
    return tree, [path for path in paths if PAYLOAD in path]


def _fill(node: Any, tree: _Tree, flat: Flat) -> None:
    if isinstance(node, list):
        for item in node:
            _fill(item, tree, flat)
    elif type(node) is dict:
        for name, (path, below) in tree.items():
            value = node.get(name)
            if value is None:
                continue
            if path is not None:
                found: list[Any] = []
                _collect(value, "", found)
                if found:
                    flat.setdefault(path, []).extend(map(_shared, found))
            if below:
                _fill(value, below, flat)


def _shared(value: Any) -> Any:
    return intern(value) if type(value) is str and len(value) < 256 else value


def _collect(node: Any, path: str, found: list[Any]) -> None:
    """Walk down a path of fields that we name ourselves: no key holds a dot."""
    while path and type(node) is dict:
        name, _, path = path.partition(".")
        node = node.get(name)
    if isinstance(node, list):
        for item in node:
            _collect(item, path, found)
    elif not path and node is not None:
        found.append(node)


def _collect_dotted(node: Any, path: str, found: list[Any]) -> None:
    """Walk down a path into a payload, whose keys are the caller's and may hold dots: try every way to read it."""
    if isinstance(node, list):
        for item in node:
            _collect_dotted(item, path, found)
    elif not path:
        if node is not None:
            found.append(node)
    elif isinstance(node, Mapping):
        if path in node:
            _collect_dotted(node[path], "", found)
            return
        end = path.find(".")
        while end != -1:
            if path[:end] in node:
                _collect_dotted(node[path[:end]], path[end + 1 :], found)
            end = path.find(".", end + 1)


def first(source: Mapping[str, Any], *paths: str) -> str | None:
    """Return the first value that any of ``paths`` has, as text."""
    for path in paths:
        for value in values(source, path):
            if isinstance(value, (str, int, float)) and value != "":
                return str(value)
    return None
