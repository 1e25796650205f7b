"""Sources and mappings in, saved objects out. The same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from loader.dashboards.check_fields import LEAVES
from loader.dashboards.fields import Field, read_fields
from loader.dashboards.flavour import OPENSEARCH_DASHBOARDS, Flavour
from loader.dashboards.panels import vis_state
from loader.dashboards.sources import DashboardSource, IndexPattern, SavedSearch, Visualisation, read_sources
from loader.errors import DashboardError
from loader.project import dashboards_dir

SavedObject = dict[str, Any]

#: The reference by which a search or a visualisation finds its index pattern.
INDEX_REFERENCE = "kibanaSavedObjectMeta.searchSourceJSON.index"


def build_all(
    home: Path | None = None, *, mappings: Path | None = None, flavour: Flavour = OPENSEARCH_DASHBOARDS
) -> dict[str, bytes]:
    """Build every dashboard of ``home/src`` (default: the project's ``dashboards/``): file name → NDJSON.

    Raises:
        DashboardError: a source is broken, or names an index pattern no template has.
        MappingError: a file of ``mappings`` is broken.
    """
    fields = read_fields(mappings)
    return {
        f"{source.name.replace('-', '_')}.ndjson": to_ndjson(build(source, fields, flavour))
        for source in read_sources((home or dashboards_dir()) / "src")
    }


def write(folder: Path | None = None, *, home: Path | None = None, mappings: Path | None = None) -> list[Path]:
    """Build every dashboard into ``folder`` (default: ``home/saved_objects``), and return the files that changed.

    Raises:
        DashboardError, MappingError: as :func:`build_all`.
    """
    target = folder or (home or dashboards_dir()) / "saved_objects"
    built = build_all(home, mappings=mappings)
    target.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, content in built.items():
        path = target / name
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
            changed.append(path)
    return changed


def build(
    source: DashboardSource, fields: Mapping[str, Mapping[str, Field]], flavour: Flavour = OPENSEARCH_DASHBOARDS
) -> list[SavedObject]:
    """Return the saved objects of one dashboard, what is referred to before what refers to it.

    ``fields`` is what :func:`loader.dashboards.fields.read_fields` returns.

    Raises:
        DashboardError: an index pattern of the source has no template.
    """
    patterns = [_index_pattern(key, pattern, source, fields, flavour) for key, pattern in source.index_patterns.items()]
    panels = [
        _search(panel, source, flavour) if isinstance(panel, SavedSearch) else _visualisation(panel, source, flavour)
        for panel in source.panels
    ]
    panels.sort(key=lambda panel: (panel["type"], panel["id"]))
    return [*patterns, *panels, _dashboard(source, flavour)]


def to_ndjson(objects: Iterable[SavedObject]) -> bytes:
    """Return one line an object, keys sorted."""
    return b"".join(orjson.dumps(each, option=orjson.OPT_SORT_KEYS) + b"\n" for each in objects)


def panel_id(source: DashboardSource, panel: str) -> str:
    """Return the id of a panel's object: made from names, so that a second import overwrites the first."""
    return f"siem-{source.name}-{panel}"


def _text(value: Any) -> str:
    """Return ``value`` as the JSON text that saved objects carry inside their JSON."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _object(
    kind: str, identity: str, attributes: dict[str, Any], references: list[dict[str, str]], flavour: Flavour
) -> SavedObject:
    return {
        "type": kind,
        "id": identity,
        "attributes": attributes,
        "references": references,
        "migrationVersion": {kind: flavour.versions[kind]},
    }


def _pattern_id(pattern: IndexPattern) -> str:
    return f"siem-index-pattern-{pattern.pattern.rstrip('*').rstrip('-')}"


def _index_pattern(
    key: str,
    pattern: IndexPattern,
    source: DashboardSource,
    fields: Mapping[str, Mapping[str, Field]],
    flavour: Flavour,
) -> SavedObject:
    if pattern.pattern not in fields:
        raise DashboardError(
            f"no index template has the pattern {pattern.pattern}",
            where=f"dashboards/src/{source.name.replace('-', '_')}.yml: index_patterns.{key}",
            hint=f"Templates have: {', '.join(sorted(fields))}.",
        )
    attributes = {
        "title": pattern.pattern,
        "timeFieldName": pattern.time_field,
        "fields": _text([field.saved() for field in fields[pattern.pattern].values()]),
        # Discover does not fetch them: they say once more what the payloads beside them say.
        "sourceFilters": _text([{"value": name} for name in fields[pattern.pattern] if name == LEAVES]),
    }
    return _object("index-pattern", _pattern_id(pattern), attributes, [], flavour)


def _search_source(query: str, **more: Any) -> dict[str, str]:
    content = {"query": {"query": query, "language": "kuery"}, "filter": [], **more}
    return {"searchSourceJSON": _text(content)}


def _index_reference(panel: Visualisation | SavedSearch, source: DashboardSource) -> list[dict[str, str]]:
    pattern = source.index_patterns[panel.index_pattern]
    return [{"name": INDEX_REFERENCE, "type": "index-pattern", "id": _pattern_id(pattern)}]


def _search(panel: SavedSearch, source: DashboardSource, flavour: Flavour) -> SavedObject:
    attributes = {
        "title": panel.title,
        "description": panel.description,
        "hits": 0,
        "columns": panel.columns,
        "sort": [[panel.sort_by, panel.order]],
        "version": 1,
        "kibanaSavedObjectMeta": _search_source(
            panel.query, highlightAll=True, version=True, indexRefName=INDEX_REFERENCE
        ),
    }
    return _object("search", panel_id(source, panel.name), attributes, _index_reference(panel, source), flavour)


def _visualisation(panel: Visualisation, source: DashboardSource, flavour: Flavour) -> SavedObject:
    attributes = {
        "title": panel.title,
        "description": panel.description,
        "version": 1,
        "visState": _text(vis_state(panel, flavour)),
        "uiStateJSON": "{}",
        "kibanaSavedObjectMeta": _search_source(panel.query, indexRefName=INDEX_REFERENCE),
    }
    return _object("visualization", panel_id(source, panel.name), attributes, _index_reference(panel, source), flavour)


def _dashboard(source: DashboardSource, flavour: Flavour) -> SavedObject:
    panels, references = [], []
    for number, panel in enumerate(source.panels, start=1):
        reference, index = f"panel_{number}", str(number)
        panels.append(
            {
                "version": flavour.versions["dashboard"],
                "gridData": {**panel.grid.model_dump(), "i": index},
                "panelIndex": index,
                "embeddableConfig": {},
                "panelRefName": reference,
            }
        )
        kind = "search" if isinstance(panel, SavedSearch) else "visualization"
        references.append({"name": reference, "type": kind, "id": panel_id(source, panel.name)})
    attributes = {
        "title": source.title,
        "description": source.description,
        "hits": 0,
        "version": 1,
        "panelsJSON": _text(panels),
        "optionsJSON": _text({"hidePanelTitles": False, "useMargins": True}),
        "timeRestore": True,
        "timeFrom": source.time.since,
        "timeTo": source.time.until,
        "kibanaSavedObjectMeta": _search_source(""),
    }
    return _object("dashboard", f"siem-{source.name}", attributes, references, flavour)
