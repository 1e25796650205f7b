"""Field types, read from the index templates: what a value is compared with, and in which form."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import yaml

from loader.detection.sources import Source
from loader.errors import MappingError
from loader.project import mappings_dir

Kind = Literal["keyword", "wildcard", "boolean", "date", "integer", "float", "ip", "text", "other"]

_KINDS: dict[str, Kind] = {
    "keyword": "keyword",
    "constant_keyword": "keyword",
    "wildcard": "wildcard",
    "boolean": "boolean",
    "date": "date",
    "date_nanos": "date",
    "ip": "ip",
    "text": "text",
    "match_only_text": "text",
    **dict.fromkeys(("long", "integer", "short", "byte", "unsigned_long"), "integer"),
    **dict.fromkeys(("double", "float", "half_float", "scaled_float"), "float"),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the documents.

    ``path`` is where the value is in ``_source`` (another name for aliases and sub-fields). ``lowered`` says that the
    index holds lower case only. ``lower`` is the sub-field that does, if there is one.
    """

    name: str
    path: str
    kind: Kind
    lowered: bool = False
    lower: str | None = None
    ignore_above: int | None = None


@dataclass(frozen=True, slots=True)
class Leaf:
    """A place inside a payload. ``path`` is as leaves spell it, ``=`` and ``\\`` escaped, letters as the rule has them.

    ``whole`` is true for the payload itself: a value then may be anywhere inside.
    """

    path: str
    whole: bool


@dataclass(frozen=True)
class Schema:
    """The fields of one log type."""

    source: Source
    fields: Mapping[str, Field] = field(repr=False)

    def find(self, name: str) -> Field | Leaf | None:
        """Return what ``name`` (a document field, or a path in a payload) stands for; ``None`` when it is neither."""
        if found := self.fields.get(name):
            return found
        for root in self.source.payloads.roots if self.source.payloads else ():
            if name == root or name.startswith(root + "."):
                return Leaf(escape_key(name), whole=name == root)
        return None

    def address(self, name: str) -> Field | None:
        """Return the ip field that holds the addresses of text field ``name``."""
        return self.fields.get(dict(self.source.addresses).get(name, ""))

    def stored_path(self, name: str) -> str | None:
        """Return the path in ``_source`` of a document field or a payload's leaf, for group-by and evidence."""
        found = self.find(name)
        if isinstance(found, Field):
            return found.path
        if found is None or self.source.payloads is None:
            return None
        root, dot, rest = name.partition(".")
        return f"{self.source.payloads.stored}.{snake(root)}{dot}{rest}"

    def resembling(self, name: str, candidates: Iterator[str] | None = None) -> list[str]:
        """Return up to three known names that look like ``name``."""
        return difflib.get_close_matches(name, [*(candidates or ()), *self.fields], n=3, cutoff=0.6)


@cache
def field_map(source: Source) -> Mapping[str, tuple[str, ...]]:
    """Return Sigma field → document fields, as the log type's Sigma pipeline maps them.

    Raises:
        MappingError: the pipeline's file cannot be read.
    """
    try:
        body = yaml.load(source.pipeline_path.read_bytes(), Loader=yaml.CSafeLoader)
        steps = [step for step in body["transformations"] if step["type"] == "field_name_mapping"]
        found = {
            name: tuple([target] if isinstance(target, str) else target)
            for step in steps
            for name, target in step["mapping"].items()
        }
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise MappingError(f"not a Sigma pipeline: {error}", where=str(source.pipeline_path)) from None
    return found


@cache
def sigma_names(source: Source) -> Mapping[str, str]:
    """Return document field → Sigma's name for it; the ip field of an address has that of its text."""
    names = {target: name for name, targets in field_map(source).items() for target in targets}
    return names | {address: names[text] for text, address in source.addresses if text in names}


def escape_key(path: str) -> str:
    """Return a payload path as leaves spell it (docs/adr/0002): ``=`` and ``\\`` inside a key are escaped."""
    return path.replace("\\", "\\\\").replace("=", "\\=")


def snake(name: str) -> str:
    """Return ``requestParameters`` as ``request_parameters``."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


@cache
def schema_of(source: Source) -> Schema:
    """Read the schema of ``source`` from ``mappings/``.

    Raises:
        MappingError: a template is missing, is not JSON, or has an alias to a field that is not there.
    """
    folder = mappings_dir()
    template = _read(folder / "index" / f"{source.template}.json")
    components = [_read(folder / "component" / f"{name}.json") for name in template.get("composed_of", ())]
    properties = [_properties(part) for part in (*components, template)]
    fields: dict[str, Field] = {}
    aliases: dict[str, str] = {}
    for part in properties:
        _collect(part, "", fields, aliases)
    for alias, path in aliases.items():
        if path not in fields:
            raise MappingError(f"alias {alias} leads to {path}, which does not exist", where=source.template)
        target = fields[path]
        fields[alias] = Field(alias, target.path, target.kind, target.lowered, target.lower, target.ignore_above)
    if source.payloads:
        fields.pop(source.payloads.stored, None)
    return Schema(source, fields)


def _read(path: Any) -> dict[str, Any]:
    try:
        body: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise MappingError(f"cannot be read: {error}", where=str(path)) from None
    return body


def _properties(template: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = template.get("template", {}).get("mappings", {}).get("properties", {})
    return found


def _collect(properties: Mapping[str, Any], prefix: str, fields: dict[str, Field], aliases: dict[str, str]) -> None:
    for name, spec in properties.items():
        path = prefix + name
        if "properties" in spec:
            _collect(spec["properties"], f"{path}.", fields, aliases)
            continue
        if spec.get("type") == "alias":
            aliases[path] = spec["path"]
            continue
        lower = None
        for sub_name, sub in spec.get("fields", {}).items():
            entry = _field(f"{path}.{sub_name}", path, sub)
            fields[entry.name] = entry
            if entry.lowered and entry.kind == "keyword":
                lower = entry.name
        fields[path] = _field(path, path, spec, lower)


def _field(name: str, path: str, spec: Mapping[str, Any], lower: str | None = None) -> Field:
    kind = _KINDS.get(spec.get("type", "object"), "other")
    return Field(name, path, kind, spec.get("normalizer") == "lowercase", lower, spec.get("ignore_above"))
