"""Existing indices against the mappings they would get today: what can be added, and what needs new indices.

A template only reaches indices that are created later. Adding a field to an existing index is safe; changing one is
mostly refused by the engine, because the documents already in it were indexed the old way.
https://docs.opensearch.org/latest/api-reference/index-apis/put-mapping/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.errors import ClusterError
from loader.index.templates import Template, compose

#: Parameters of a field that both engines let change in place, for documents that come.
_CHANGEABLE: Final = frozenset({"ignore_above", "ignore_malformed", "coerce", "search_analyzer", "path", "meta"})
#: The same of the mapping as a whole.
_CHANGEABLE_AT_TOP: Final = frozenset({"dynamic", "date_detection", "numeric_detection", "_meta"})
#: What the engines leave out of their answers when it is so.
_DEFAULTS: Final[dict[str, Any]] = {
    "index": True,
    "doc_values": True,
    "enabled": True,
    "store": False,
    "norms": True,
    "date_detection": True,
    "numeric_detection": False,
}
_NESTING: Final = ("properties", "fields")

_EVENTS_HOW: Final = (
    "New indices get it by themselves. For this one: delete it and replay its objects with `siem load backfill` "
    "(ids are derived, nothing is doubled). A reindex inside the cluster loses the leaves if the index excludes them "
    "from its source, as indices made before this version do (ADR 0002)."
)
_OTHERS_HOW: Final = (
    "New indices get it by themselves. For this one: `POST _reindex` into a new index of the same pattern, compare the "
    "counts, delete the old one."
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A difference that no request can cure. ``path`` names the field and the parameter; ``how`` is what to do."""

    path: str
    have: Any
    want: Any
    how: str


@dataclass(frozen=True, slots=True)
class IndexDrift:
    """One existing index against its template. ``additions`` is the body of the request that would add what is new."""

    index: str
    template: str
    additions: dict[str, Any]
    added: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def compare(
    desired: dict[str, Any], actual: dict[str, Any], how: str
) -> tuple[dict[str, Any], list[str], list[Refusal]]:
    """Return what a request would have to send, the paths it adds or changes, and what no request can change.

    Fields that only ``actual`` has are of an older version, and stay.
    """
    found = _Comparison(how)
    body = found.of(desired, actual, "", top=True)
    return body, found.added, found.refusals


class _Comparison:
    def __init__(self, how: str) -> None:
        self._how = how
        self.added: list[str] = []
        self.refusals: list[Refusal] = []

    def of(self, desired: dict[str, Any], actual: dict[str, Any], path: str, *, top: bool = False) -> dict[str, Any]:
        """Compare one node, with what is below it; return the part of the request that is about it.

        A request about a field repeats all its parameters, so where one of them is refused nothing of it can be sent.
        """
        have_type, want_type = _value(actual, "type"), _value(desired, "type")
        if have_type != want_type:
            self.refusals.append(Refusal(f"{path}[type]", have_type, want_type, self._how))
            return {}
        changed: dict[str, Any] = {}
        refused = False
        for name in sorted((desired.keys() | actual.keys()) - {*_NESTING, "type"}):
            have, want = _value(actual, name), _value(desired, name)
            if have == want or (name not in desired and name in ("meta", "_meta")):
                continue
            if _is_changeable(name, want, top=top):
                changed[name] = desired[name]
            else:
                self.refusals.append(Refusal(f"{path}[{name}]", have, want, self._how))
                refused = True
        if refused and not top:
            return {}
        self.added += [f"{path}[{name}]" for name in changed]
        for nest in _NESTING:
            below = self._below(desired.get(nest, {}), actual.get(nest, {}), path)
            if below:
                changed[nest] = below
        if changed and not top:
            changed = {**_identity(desired), **changed}
        return changed

    def _below(self, desired: dict[str, Any], actual: dict[str, Any], path: str) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        for name, wanted in desired.items():
            below = f"{path}.{name}" if path else name
            if name not in actual:
                changed[name] = wanted
                self.added.append(below)
            elif part := self.of(wanted, actual[name], below):
                changed[name] = part
        return changed


def _is_changeable(name: str, want: Any, *, top: bool) -> bool:
    if name == "norms":  # can be switched off, never on
        return want is False
    return want is not None and name in (_CHANGEABLE_AT_TOP if top else _CHANGEABLE)


def _identity(desired: dict[str, Any]) -> dict[str, Any]:
    """Return what a request must repeat of a field to be about that field: all its own parameters."""
    return {name: value for name, value in desired.items() if name not in _NESTING}


def _value(node: dict[str, Any], name: str) -> Any:
    """Return a parameter in one form: both engines write some booleans as text, and leave defaults out."""
    if name == "type":
        return node.get("type", "object")
    value = node.get(name, _DEFAULTS.get(name))
    if isinstance(value, dict):
        return {key: sorted(part) if isinstance(part, list) else part for key, part in value.items() if part != []}
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def plan_existing(client: OpenSearch, templates: Sequence[Template]) -> list[IndexDrift]:
    """Compare every existing index with the template it would be created from today; return those that differ.

    Raises:
        ClusterError: the cluster cannot be asked.
        MappingError: the templates do not fit together.
    """
    return list(_drifts(client, templates))


def _drifts(client: OpenSearch, templates: Sequence[Template]) -> Iterator[IndexDrift]:
    for template in templates:
        if template.kind != "index":
            continue
        patterns = template.body["index_patterns"]
        desired = compose(template, templates)
        for index, actual in sorted(_mappings(client, patterns).items()):
            if not any(fnmatchcase(index, pattern) for pattern in patterns):
                continue  # found by an alias
            how = _EVENTS_HOW if index.startswith("log-") else _OTHERS_HOW
            additions, added, refusals = compare(desired, actual, how)
            if additions or refusals:
                yield IndexDrift(index, template.name, additions, tuple(added), tuple(refusals))


def _mappings(client: OpenSearch, patterns: list[str]) -> dict[str, dict[str, Any]]:
    where = ",".join(patterns)
    try:
        answer = client.indices.get_mapping(
            index=where, params={"expand_wildcards": "all", "ignore_unavailable": "true"}
        )
    except NotFoundError:
        return {}
    except TransportError as error:
        raise ClusterError(f"cannot read the mappings: {error.error}", where=where) from None
    return {index: entry.get("mappings", {}) for index, entry in answer.items()}


def apply_existing(client: OpenSearch, drifts: Sequence[IndexDrift]) -> list[str]:
    """Add what can be added to existing indices; return their names. Refused differences stay as they are.

    Documents that are there already are not searchable by a field added now; those that come are.

    Raises:
        ClusterError: the cluster refused an addition.
    """
    changed = []
    for drift in drifts:
        if not drift.additions:
            continue
        try:
            client.indices.put_mapping(index=drift.index, body=drift.additions)
        except TransportError as error:
            raise ClusterError(f"the addition was refused: {error.info or error.error}", where=drift.index) from None
        changed.append(drift.index)
    return changed
