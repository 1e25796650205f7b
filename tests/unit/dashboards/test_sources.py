from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from loader.dashboards.sources import read_source, read_sources
from loader.errors import DashboardError
from loader.project import dashboards_dir


def panel(**more: Any) -> dict[str, Any]:
    return {
        "name": "one",
        "kind": "table",
        "title": "Who?",
        "description": "Ask them.",
        "index_pattern": "events",
        "grid": {"x": 0, "y": 0, "w": 24, "h": 10},
        "metrics": [{"agg": "count", "label": "Calls"}],
        "buckets": [{"agg": "terms", "field": "user.name", "label": "User"}],
        **more,
    }


def source(*panels: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "title": "T",
        "description": "D",
        "index_patterns": {"events": {"pattern": "log-aws-cloudtrail-*"}},
        "panels": list(panels) or [panel()],
        **more,
    }


def written(folder: Path, document: Any) -> Path:
    path = folder / "my_board.yml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def test_the_name_is_the_files(tmp_path: Path) -> None:
    read = read_source(written(tmp_path, source()))
    assert read.name == "my-board"
    assert (read.time.since, read.time.until) == ("now-24h", "now")


def test_the_projects_sources_read_and_every_panel_asks_a_question() -> None:
    sources = read_sources(dashboards_dir() / "src")
    assert [each.name for each in sources] == ["cloudtrail-overview"]
    assert all(panel.title.endswith("?") for panel in sources[0].panels)
    assert all("Next:" in panel.description for panel in sources[0].panels)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (source(panel(title="Users")), "title"),
        (source(panel(description="")), "description"),
        (source(panel(kind="pie")), "kind"),
        (source(panel(colour="red")), "colour"),
        (source(panel(name="Bad Name")), "name"),
        (source(panel(grid={"x": 30, "y": 0, "w": 24, "h": 10})), "x \\+ w is 54"),
        (source(panel(metrics=[])), "metrics"),
        (source(panel(metrics=[{"agg": "count", "field": "user.name", "label": "x"}])), "count has no field"),
        (source(panel(metrics=[{"agg": "max", "label": "x"}])), "every other metric has one"),
        (source(panel(metrics=[{"agg": "count", "label": "x"}] * 2)), "same label"),
        (
            source(panel(buckets=[{"agg": "terms", "field": "user.name", "label": "x", "order_by": "nothing"}])),
            "no metric has the label 'nothing'",
        ),
        (source(panel(kind="histogram", buckets=[])), "a histogram needs a bucket"),
        (source(panel(), panel()), "two panels are named one"),
        (source(panel(index_pattern="other")), "no index pattern other"),
        (source(title=""), "title"),
        ({**source(), "panels": []}, "panels"),
        ([1], "expected one mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, document: Any, message: str) -> None:
    path = written(tmp_path, document)
    with pytest.raises(DashboardError, match=message) as caught:
        read_source(path)
    assert str(caught.value.where).startswith(str(path))


def test_all_mistakes_of_a_file_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, source(panel(title="Users", query=5), title=""))
    with pytest.raises(DashboardError) as caught:
        read_source(path)
    assert caught.value.message.count(";") == 2
