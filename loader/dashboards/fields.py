"""The fields of an index pattern, derived from the index templates that ``mappings/`` owns.

A saved index pattern carries its own list of fields, and a screen believes the list, not the cluster. So it is made
from the mapping, in the form that OpenSearch's ``_field_caps`` would give for an index made from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loader.errors import DashboardError
from loader.index.templates import read_templates

#: Mapping type → the screen's own type. `wildcard` is `unknown` to the screen's own list, which would take away the
#: filter buttons; a string it is.
_SCREEN_TYPES = {
    "keyword": "string",
    "text": "string",
    "wildcard": "string",
    "long": "number",
    "double": "number",
    "date": "date",
    "boolean": "boolean",
    "ip": "ip",
    "geo_point": "geo_point",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its ``type`` as the screen names it, its ``mapping_type`` as the cluster does."""

    name: str
    type: str
    mapping_type: str | None
    searchable: bool
    aggregatable: bool
    #: The field whose multi-field this is.
    parent: str | None = None

    @property
    def read_from_doc_values(self) -> bool:
        """Return whether the screen fetches the value from doc values: never for text or the cluster's own fields."""
        return self.aggregatable and self.mapping_type != "text" and not self.name.startswith("_")

    def saved(self) -> dict[str, Any]:
        """Return the field as an entry of an index pattern's ``fields``."""
        entry: dict[str, Any] = {
            "count": 0,
            "name": self.name,
            "type": self.type,
            "scripted": False,
            "searchable": self.searchable,
            "aggregatable": self.aggregatable,
            "readFromDocValues": self.read_from_doc_values,
        }
        if self.mapping_type is not None:
            entry["esTypes"] = [self.mapping_type]
        if self.parent is not None:
            entry["subType"] = {"multi": {"parent": self.parent}}
        return entry


_CLUSTERS_OWN = (
    Field("_id", "string", "_id", searchable=True, aggregatable=True),
    Field("_index", "string", "_index", searchable=True, aggregatable=True),
    Field("_score", "number", None, searchable=False, aggregatable=False),
    Field("_source", "_source", "_source", searchable=False, aggregatable=False),
)


def read_fields(folder: Path | None = None) -> dict[str, dict[str, Field]]:
    """Return every index pattern that has a template, with its fields by name, in alphabetical order.

    ``folder`` is a mappings folder (default: the project's).

    Raises:
        MappingError: a template is not JSON.
        DashboardError: a template names a component template that does not exist, or a type that is not known here.
    """
    templates = read_templates(folder)
    components = {template.name: template.body for template in templates if template.kind == "component"}
    patterns: dict[str, dict[str, Field]] = {}
    for template in templates:
        if template.kind != "index":
            continue
        where = f"mappings/index/{template.name}.json"
        properties: dict[str, Any] = {}
        for part in template.body.get("composed_of", []):
            if part not in components:
                raise DashboardError(f"no component template {part}", where=where)
            _merge(properties, _properties(components[part]))
        _merge(properties, _properties(template.body))
        fields = _with_aliases(list(_walk(properties, "", where)), properties, where)
        by_name = {field.name: field for field in sorted([*_CLUSTERS_OWN, *fields], key=lambda field: field.name)}
        for pattern in template.body["index_patterns"]:
            patterns[pattern] = by_name
    return patterns


def _properties(body: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body.get("template", {}).get("mappings", {}).get("properties", {})
    return found


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = _copied(value)


def _copied(value: Any) -> Any:
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


def _walk(properties: Mapping[str, Any], prefix: str, where: str) -> Iterator[Field]:
    for key, body in properties.items():
        name = prefix + key
        kind = body.get("type", "object")
        if kind == "object":
            if body.get("enabled", True):
                yield from _walk(body.get("properties", {}), f"{name}.", where)
        elif kind != "alias":
            yield _field(name, body, where)
            for inner, inner_body in body.get("fields", {}).items():
                yield _field(f"{name}.{inner}", inner_body, where, parent=name)


def _field(name: str, body: Mapping[str, Any], where: str, parent: str | None = None) -> Field:
    kind = body["type"]
    if kind not in _SCREEN_TYPES:
        raise DashboardError(
            f"{name} has the type {kind}, which index patterns have no place for",
            where=where,
            hint="Say in loader/dashboards/fields.py what the screen makes of that type.",
        )
    return Field(
        name,
        _SCREEN_TYPES[kind],
        kind,
        searchable=body.get("index", True),
        # True of `wildcard` too, which has no doc values: OpenSearch then reads the source of every document.
        aggregatable=body.get("doc_values", True) and kind != "text",
        parent=parent,
    )


def _with_aliases(fields: list[Field], properties: Mapping[str, Any], where: str) -> list[Field]:
    """Return ``fields`` and the aliases, which the cluster describes as it describes what they point to."""
    by_name = {field.name: field for field in fields}
    for name, body in properties.items():  # ours are all at the top
        if body.get("type") == "alias":
            target = by_name.get(body["path"])
            if target is None:
                raise DashboardError(f"the alias {name} points to {body['path']}, which does not exist", where=where)
            fields.append(Field(name, target.type, target.mapping_type, target.searchable, target.aggregatable))
    return fields
