"""What people write: ``dashboards/src/<name>.yml``, one file a dashboard, read into values and checked for shape."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from loader.errors import DashboardError

#: Columns of a dashboard's grid.
GRID_WIDTH = 48

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
Text = Annotated[str, Field(min_length=1)]
Question = Annotated[str, Field(pattern=r"\?$", description="a panel's title is a question an analyst asks")]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Grid(_Closed):
    """Where a panel is: columns and rows of a grid that is 48 columns wide."""

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    w: int = Field(ge=1)
    h: int = Field(ge=3)

    @model_validator(mode="after")
    def _inside(self) -> Grid:
        if self.x + self.w > GRID_WIDTH:
            raise ValueError(f"x + w is {self.x + self.w}, and the grid is {GRID_WIDTH} columns wide")
        return self


class Metric(_Closed):
    """One number: ``count`` of documents, or a reduction of ``field``."""

    agg: Literal["count", "min", "max", "sum", "avg", "cardinality"]
    field: str | None = None
    label: Text

    @model_validator(mode="after")
    def _field_fits(self) -> Metric:
        if (self.agg == "count") == (self.field is not None):
            raise ValueError("count has no field, every other metric has one")
        return self


class Terms(_Closed):
    """One bucket a value of ``field``, the ``size`` largest by the metric whose label is ``order_by``."""

    agg: Literal["terms"]
    field: str
    label: Text
    size: int = Field(10, ge=1, le=1000)
    #: Label of a metric; the first one if absent.
    order_by: str | None = None
    order: Literal["asc", "desc"] = "desc"
    #: Name of the bucket for all other values; none if absent.
    other: Text | None = None
    #: Name of the bucket for documents that lack the field; they are left out if absent.
    missing: Text | None = None


class DateHistogram(_Closed):
    """One bucket an interval, which the screen chooses."""

    agg: Literal["date_histogram"]
    field: str
    label: Text | None = None


class NamedQuery(_Closed):
    """A bucket of what matches ``query``."""

    label: Text
    query: Text


class Filters(_Closed):
    """Buckets by query."""

    agg: Literal["filters"]
    filters: list[NamedQuery] = Field(min_length=1)


Bucket = Annotated[Terms | DateHistogram | Filters, Field(discriminator="agg")]


class _Panel(_Closed):
    name: Name
    title: Question
    description: Text = Field(description="what the panel shows, and what to do next")
    index_pattern: Name
    query: str = ""
    grid: Grid


class Visualisation(_Panel):
    """A histogram (first bucket across, the others stacked), a table (buckets are columns) or large numbers."""

    kind: Literal["histogram", "table", "metric"]
    metrics: list[Metric] = Field(min_length=1)
    buckets: list[Bucket] = []

    @model_validator(mode="after")
    def _labels_resolve(self) -> Visualisation:
        labels = [metric.label for metric in self.metrics]
        if len(set(labels)) < len(labels):
            raise ValueError("two metrics have the same label")
        for bucket in self.buckets:
            if isinstance(bucket, Terms) and bucket.order_by is not None and bucket.order_by not in labels:
                raise ValueError(f"order_by: no metric has the label {bucket.order_by!r}")
        if self.kind == "histogram" and not self.buckets:
            raise ValueError("a histogram needs a bucket")
        return self


class SavedSearch(_Panel):
    """A list of documents."""

    kind: Literal["search"]
    columns: list[str] = Field(min_length=1)
    sort_by: str = "@timestamp"
    order: Literal["asc", "desc"] = "desc"


Panel = Annotated[Visualisation | SavedSearch, Field(discriminator="kind")]


class IndexPattern(_Closed):
    """What a panel looks at: ``pattern`` is one that an index template in ``mappings/`` has."""

    pattern: Text
    time_field: str = "@timestamp"


class TimeRange(_Closed):
    """The time range the dashboard opens with."""

    since: str = Field("now-24h", alias="from")
    until: str = Field("now", alias="to")


class DashboardSource(_Closed):
    """One dashboard. ``name`` is the file's."""

    name: Name
    title: Text
    description: Text
    time: TimeRange = TimeRange.model_validate({})
    index_patterns: dict[Name, IndexPattern] = Field(min_length=1)
    panels: list[Panel] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_resolve(self) -> DashboardSource:
        names = [panel.name for panel in self.panels]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two panels are named {name}")
        for panel in self.panels:
            if panel.index_pattern not in self.index_patterns:
                raise ValueError(f"panel {panel.name}: no index pattern {panel.index_pattern}")
        return self


def read_sources(folder: Path) -> list[DashboardSource]:
    """Read every ``*.yml`` of ``folder``, in alphabetical order.

    Raises:
        DashboardError: a file is not YAML or not of the right shape; the message names every problem of the file.
    """
    return [read_source(path) for path in sorted(folder.glob("*.yml"))]


def read_source(path: Path) -> DashboardSource:
    """Read one source.

    Raises:
        DashboardError: as :func:`read_sources`.
    """
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise DashboardError(f"not YAML: {getattr(error, 'problem', error)}", where=f"{path}{line}") from None
    if not isinstance(document, dict):
        raise DashboardError("expected one mapping: title, description, index_patterns, panels", where=str(path))
    try:
        return DashboardSource.model_validate({**document, "name": path.stem.replace("_", "-")})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'dashboard'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise DashboardError(
            problems, where=str(path), hint="The keys of a source are those of loader/dashboards/sources.py."
        ) from None
