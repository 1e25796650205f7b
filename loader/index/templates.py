"""Component and index templates: read from ``mappings/``, compared with the cluster, applied."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from loader.errors import ClusterError, MappingError
from loader.index.engine import Engine, adapt_mapping, read_engine, takes_components
from loader.index.lifecycle import POLICY, manager_of
from loader.index.retention import EVENTS
from loader.project import mappings_dir

Kind = Literal["component", "index"]
_PATHS: dict[Kind, str] = {"component": "/_component_template/", "index": "/_index_template/"}
_ANSWER_KEYS: dict[Kind, tuple[str, str]] = {
    "component": ("component_templates", "component_template"),
    "index": ("index_templates", "index_template"),
}


@dataclass(frozen=True, slots=True)
class Template:
    """One template. ``body`` is what the cluster is sent."""

    kind: Kind
    name: str
    body: dict[str, Any]

    @property
    def path(self) -> str:
        """Return the template's path in the cluster's API."""
        return _PATHS[self.kind] + self.name


@dataclass(frozen=True, slots=True)
class Change:
    """What applying would do to one template."""

    template: Template
    action: Literal["create", "update", "keep"]


def read_templates(folder: Path | None = None) -> list[Template]:
    """Read every template under ``folder`` (default: the project's ``mappings/``), component templates first.

    Raises:
        MappingError: a file is not JSON.
    """
    return list(_read(folder or mappings_dir()))


def _read(folder: Path) -> Iterator[Template]:
    kinds: tuple[Kind, ...] = ("component", "index")
    for kind in kinds:
        for path in sorted((folder / kind).glob("*.json")):
            try:
                body = orjson.loads(path.read_bytes())
            except orjson.JSONDecodeError as error:
                raise MappingError(f"not JSON: {error}", where=str(path)) from None
            yield Template(kind, path.stem, body)


def compose(template: Template, templates: Sequence[Template]) -> dict[str, Any]:
    """Return the whole mapping that an index of ``template`` gets: its components', one over the other, then its own.

    Raises:
        MappingError: it is composed of a component that is not among ``templates``.
    """
    components = {other.name: other for other in templates if other.kind == "component"}
    mapping: dict[str, Any] = {}
    for name in template.body.get("composed_of", []):
        if name not in components:
            raise MappingError(f"component template {name!r} is not there", where=template.name)
        _overlay(mapping, components[name].body.get("template", {}).get("mappings", {}))
    _overlay(mapping, template.body.get("template", {}).get("mappings", {}))
    return mapping


def _overlay(mapping: dict[str, Any], other: dict[str, Any]) -> None:
    for name, value in other.items():
        if isinstance(value, dict) and isinstance(mapping.get(name), dict):
            _overlay(mapping[name], value)
        else:
            mapping[name] = copy.deepcopy(value)


def adapt(templates: Sequence[Template], engine: Engine) -> list[Template]:
    """Return ``templates`` as ``engine`` takes them.

    Raises:
        MappingError: one is composed of a component that is not there.
    """
    if not takes_components(engine):
        templates = [_alone(template, templates) for template in templates if template.kind == "index"]
    return [Template(known.kind, known.name, adapt_mapping(known.body, engine)) for known in templates]


def _alone(template: Template, templates: Sequence[Template]) -> Template:
    """Return an index template that needs no component, and leaves it to the cluster how documents are kept."""
    body = {name: part for name, part in template.body.items() if name != "composed_of"}
    return Template("index", template.name, {**body, "template": {"mappings": compose(template, templates)}})


def plan(client: OpenSearch, templates: Sequence[Template]) -> list[Change]:
    """Compare ``templates``, as the cluster's engine takes them, with the cluster.

    Raises:
        ClusterError: the cluster cannot be asked.
    """
    changes = []
    engine = read_engine(client)
    # ISM finds new indices by the pattern in its policy; ILM wants to be named by the template.
    named = engine == "elasticsearch" and manager_of(client) == "ilm"
    for adapted in adapt(templates, engine):
        template = _under_ilm(adapted) if named else adapted
        current = _current(client, template)
        if current is None:
            changes.append(Change(template, "create"))
        else:
            changes.append(Change(template, "keep" if _stamp(current) == _stamp(_stamped(template)) else "update"))
    return changes


def _under_ilm(template: Template) -> Template:
    """Return the template so that its indices are under the lifecycle policy from their creation on, if of events."""
    patterns: list[str] = template.body.get("index_patterns", [])
    if template.kind != "index" or not any(pattern.startswith(EVENTS[:-1]) for pattern in patterns):
        return template
    inner = template.body.get("template", {})
    settings = {**inner.get("settings", {}), "index.lifecycle.name": POLICY}
    return Template(template.kind, template.name, {**template.body, "template": {**inner, "settings": settings}})


def apply(client: OpenSearch, changes: list[Change]) -> None:
    """Send what is new or different. New templates take effect with the next index that is created.

    Raises:
        ClusterError: the cluster refused a template.
    """
    for change in changes:
        if change.action == "keep":
            continue
        try:
            client.transport.perform_request("PUT", change.template.path, body=_stamped(change.template))
        except TransportError as error:
            raise ClusterError(
                f"the cluster refused the template: {error.info or error.error}", where=change.template.path
            ) from None


def _current(client: OpenSearch, template: Template) -> dict[str, Any] | None:
    listed, inner = _ANSWER_KEYS[template.kind]
    try:
        answer = client.transport.perform_request("GET", template.path)
    except NotFoundError:
        return None
    except TransportError as error:
        raise ClusterError(f"cannot read the template: {error.error}", where=template.path) from None
    found: dict[str, Any] = answer[listed][0][inner]
    return found


def _stamped(template: Template) -> dict[str, Any]:
    """Return the body with its own hash in ``_meta``: clusters rewrite bodies, but return ``_meta`` as it was sent."""
    from hashlib import blake2b

    digest = blake2b(orjson.dumps(template.body, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
    return {**template.body, "_meta": {**template.body.get("_meta", {}), "content_hash": digest}}


def _stamp(body: dict[str, Any]) -> str | None:
    stamp = body.get("_meta", {}).get("content_hash")
    return str(stamp) if stamp else None
