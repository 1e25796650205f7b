"""Every check of saved objects. The screen imports broken ones without a word, so the checks have to be ours.

A file is held to what can go wrong when it is imported (versions, attributes, references) and when its panels are drawn
(fields, aggregations, queries, grid). All problems are returned, not the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from loader.dashboards.build import INDEX_REFERENCE, build_all
from loader.dashboards.check_fields import (
    check_index_fields,
    check_query,
    check_search,
    check_time_field,
    check_vis_state,
)
from loader.dashboards.fields import Field, read_fields
from loader.dashboards.flavour import OPENSEARCH_DASHBOARDS, Flavour
from loader.dashboards.problems import Item, Problem, read_items
from loader.dashboards.sources import GRID_WIDTH
from loader.project import dashboards_dir

__all__ = ["Problem", "check", "check_committed"]


def check(
    files: Mapping[str, bytes] | None = None,
    *,
    mappings: Path | None = None,
    flavour: Flavour = OPENSEARCH_DASHBOARDS,
) -> list[Problem]:
    """Check NDJSON files (name → content; default: the committed ones) and return every problem, in order of place.

    Each file is checked as if it were imported alone: what it refers to must be in it.

    Raises:
        DashboardError, MappingError: the mappings cannot be read.
    """
    if files is None:
        return check_committed(mappings=mappings, flavour=flavour)
    by_pattern = read_fields(mappings)
    problems: list[Problem] = []
    everything: list[Item] = []
    for name, content in sorted(files.items()):
        items = []
        for found in read_items(name, content):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                items.append(found)
        if not items:
            problems.append(Problem(name, 0, "", "", "empty", "there is no saved object in it"))
        _check_file(items, by_pattern, flavour)
        everything += items
    _check_same_across_files(everything)
    problems += [problem for item in everything for problem in item.problems]
    return sorted(problems, key=lambda problem: (problem.file, problem.line))


def check_committed(
    home: Path | None = None, *, mappings: Path | None = None, flavour: Flavour = OPENSEARCH_DASHBOARDS
) -> list[Problem]:
    """Check ``home/saved_objects`` (default: the project's), and that it holds what the sources and mappings give.

    Raises:
        DashboardError, MappingError: the sources or the mappings are broken.
    """
    folder = (home or dashboards_dir()) / "saved_objects"
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.ndjson"))}
    built = build_all(home, mappings=mappings, flavour=flavour)
    problems = check(files, mappings=mappings, flavour=flavour)
    for name in sorted(files.keys() | built.keys()):
        if name not in built:
            problems.append(Problem(name, 0, "", "", "no-source", "no source in dashboards/src gives this file"))
        elif files.get(name) != built[name]:
            message = "differs from what the sources and mappings give: run `siem dashboards build`"
            problems.append(Problem(name, 0, "", "", "stale", message))
    return problems


def _check_file(items: list[Item], by_pattern: Mapping[str, Mapping[str, Field]], flavour: Flavour) -> None:
    known: dict[tuple[str, str], Item] = {}
    for item in items:
        _check_envelope(item, flavour)
        if (item.kind, item.identity) in known:
            item.add("id", "duplicate-id", f"line {known[item.kind, item.identity].line} has the same type and id")
        known[item.kind, item.identity] = item
    for item in items:
        for position, entry in enumerate(_listed(item.body.get("references"))):
            target = (str(entry.get("type")), str(entry.get("id"))) if isinstance(entry, dict) else ("", "")
            if target not in known:
                item.add(f"references.{position}", "dangling-reference", f"{'/'.join(target)} is not in this file")
        if item.kind == "index-pattern":
            _check_index_pattern(item, by_pattern)
        elif item.kind == "dashboard":
            _check_dashboard(item)
        elif item.kind in {"search", "visualization"}:
            _check_panel(item, known, by_pattern)


def _check_envelope(item: Item, flavour: Flavour) -> None:
    for key in ("type", "id"):
        if not isinstance(item.body.get(key), str) or not item.body[key]:
            item.add(key, "shape", "expected text")
    if not isinstance(item.attributes.get("title"), str) or not item.attributes["title"]:
        item.add("title", "shape", "expected text")
    if item.kind not in flavour.versions:
        item.add("type", "type", f"{flavour.name} does not import objects of the type {item.kind}")
        return
    for name in sorted(item.attributes.keys() - flavour.attributes[item.kind]):
        item.add(name, "attribute", f"a {item.kind} has no such attribute, and the import would be refused")
    carried = item.body.get("migrationVersion")
    for kind, version in (carried if isinstance(carried, dict) else {}).items():
        newest = flavour.versions.get(kind)
        if newest is None or _version(version) > _version(newest):
            item.add("migrationVersion", "version", f"{version} is newer than {newest}: the whole import would fail")


def _version(text: object) -> tuple[int, ...]:
    parts = str(text).split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else (10**9,)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _check_index_pattern(item: Item, by_pattern: Mapping[str, Mapping[str, Field]]) -> None:
    title = str(item.attributes.get("title"))
    fields = by_pattern.get(title)
    if fields is None:
        item.add("title", "unknown-pattern", f"no index template has the pattern {title}")
        return
    check_time_field(item, fields)
    check_index_fields(item, fields)


def _check_panel(
    item: Item, known: Mapping[tuple[str, str], Item], by_pattern: Mapping[str, Mapping[str, Field]]
) -> None:
    place = "kibanaSavedObjectMeta.searchSourceJSON"
    source = item.inner(place, {})
    source = source if isinstance(source, dict) else {}
    name = source.get("indexRefName")
    reference = item.references.get(str(name), {})
    if name != INDEX_REFERENCE or reference.get("type") != "index-pattern":
        item.add(f"{place}.indexRefName", "dangling-reference", f"{name} is no reference to an index pattern")
        return
    pattern = known.get(("index-pattern", str(reference.get("id"))))
    fields = by_pattern.get(str(pattern.attributes.get("title"))) if pattern else None
    if fields is None:
        return  # said of the index pattern, or of the reference
    query = source.get("query")
    if not isinstance(query, dict) or query.get("language") != "kuery" or not isinstance(query.get("query"), str):
        item.add(f"{place}.query", "shape", "expected a query in the language kuery")
    else:
        check_query(item, query["query"], f"{place}.query", fields)
    if source.get("filter") != []:
        item.add(f"{place}.filter", "filter", "filters are not checked here: say it in the query")
    if item.kind == "search":
        check_search(item, fields)
    else:
        check_vis_state(item, fields)


def _check_dashboard(item: Item) -> None:
    item.inner("optionsJSON")
    item.inner("kibanaSavedObjectMeta.searchSourceJSON")
    if item.attributes.get("timeRestore") and not (item.attributes.get("timeFrom") and item.attributes.get("timeTo")):
        item.add("timeRestore", "shape", "needs timeFrom and timeTo")
    boxes: dict[int, tuple[int, int, int, int]] = {}
    indices: set[str] = set()
    used = set()
    for position, panel in enumerate(_listed(item.inner("panelsJSON"))):
        if not isinstance(panel, dict):
            item.add(f"panelsJSON.{position}", "shape", "expected a panel")
            continue
        used.add(_check_panel_reference(item, position, panel))
        box = _box(item, position, panel, indices)
        if box is not None:
            boxes[position] = box
    if not used:
        item.add("panelsJSON", "shape", "there is no panel")
    for name in sorted(item.references.keys() - used):
        item.add("references", "unused-reference", f"no panel uses {name}")
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        if a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]:
            item.add(f"panelsJSON.{other}.gridData", "grid", f"overlaps panelsJSON.{one}")


def _check_panel_reference(item: Item, position: int, panel: Mapping[str, Any]) -> str:
    name = str(panel.get("panelRefName"))
    if item.references.get(name, {}).get("type") not in {"visualization", "search"}:
        item.add(f"panelsJSON.{position}.panelRefName", "dangling-reference", f"{name} is no reference to a panel")
    return name


def _box(item: Item, position: int, panel: Mapping[str, Any], indices: set[str]) -> tuple[int, int, int, int] | None:
    """Return a panel's x, y, w and h, or None with a problem."""
    grid = panel.get("gridData")
    if not isinstance(grid, dict) or not all(type(grid.get(side)) is int for side in "xywh"):
        item.add(f"panelsJSON.{position}.gridData", "shape", "expected whole numbers x, y, w and h")
        return None
    index = panel.get("panelIndex")
    if not isinstance(index, str) or grid.get("i") != index or index in indices:
        message = "panelIndex and gridData.i are to be the same text, and unique"
        item.add(f"panelsJSON.{position}.panelIndex", "panel-index", message)
    indices.add(str(index))
    x, y, w, h = (grid[side] for side in "xywh")
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > GRID_WIDTH:
        item.add(f"panelsJSON.{position}.gridData", "grid", f"is not inside a grid of {GRID_WIDTH} columns")
    return x, y, w, h


def _check_same_across_files(items: list[Item]) -> None:
    """Files are imported one after the other: an object that is in two of them must be the same in both."""
    first: dict[tuple[str, str], Item] = {}
    for item in items:
        earlier = first.setdefault((item.kind, item.identity), item)
        if earlier.file != item.file and earlier.body != item.body:
            item.add("id", "duplicate-id", f"{earlier.file}:{earlier.line} has another object of this type and id")
