"""The shapes of ``visState`` for the visualisations we use: the schema that the check holds saved objects to.

The screen imports a broken ``visState`` without a word and fails when the panel is drawn, so the schema is closed: a
key that is not here is a mistake. ``json_schema()`` gives it as JSON Schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

AggId = Annotated[str, Field(pattern=r"^[1-9][0-9]*$")]
_Label = Annotated[str, Field(min_length=1)]


class _Closed(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)


# --- aggregations ----------------------------------------------------------------------------------------------------


class CountParams(_Closed):
    """Nothing to count by: documents."""

    custom_label: _Label | None = None


class MetricParams(_Closed):
    """The field whose values are reduced to one number."""

    field: str
    custom_label: _Label | None = None


class TermsParams(_Closed):
    """One bucket a value."""

    field: str
    order_by: str
    order: Literal["asc", "desc"]
    size: int = Field(ge=1, le=1000)
    other_bucket: bool
    other_bucket_label: _Label
    missing_bucket: bool
    missing_bucket_label: _Label
    custom_label: _Label | None = None


class DateHistogramParams(_Closed):
    """One bucket an interval."""

    field: str
    interval: Literal["auto", "m", "h", "d", "w", "M"]
    drop_partials: bool = Field(alias="drop_partials")
    min_doc_count: int = Field(alias="min_doc_count", ge=0, le=1)
    scale_metric_values: bool
    extended_bounds: dict[str, Any] = Field(alias="extended_bounds")
    use_normalized_open_search_interval: bool | None = None
    use_normalized_es_interval: bool | None = None
    custom_label: _Label | None = None


class FilterInput(_Closed):
    """A query of the search bar."""

    query: str
    language: Literal["kuery"]


class LabelledFilter(_Closed):
    """One named bucket: what matches the query."""

    input: FilterInput
    label: _Label


class FiltersParams(_Closed):
    """Named buckets, which may overlap."""

    filters: list[LabelledFilter] = Field(min_length=1, max_length=20)


class CountAgg(_Closed):
    """How many documents."""

    id: AggId
    enabled: Literal[True]
    type: Literal["count"]
    role: Literal["metric"] = Field(alias="schema")
    params: CountParams


class MetricAgg(_Closed):
    """One number from the values of one field."""

    id: AggId
    enabled: Literal[True]
    type: Literal["min", "max", "sum", "avg", "cardinality"]
    role: Literal["metric"] = Field(alias="schema")
    params: MetricParams


class TermsAgg(_Closed):
    """Buckets by value."""

    id: AggId
    enabled: Literal[True]
    type: Literal["terms"]
    role: Literal["segment", "group", "bucket"] = Field(alias="schema")
    params: TermsParams


class DateHistogramAgg(_Closed):
    """Buckets by time."""

    id: AggId
    enabled: Literal[True]
    type: Literal["date_histogram"]
    role: Literal["segment", "bucket"] = Field(alias="schema")
    params: DateHistogramParams


class FiltersAgg(_Closed):
    """Buckets by query."""

    id: AggId
    enabled: Literal[True]
    type: Literal["filters"]
    role: Literal["segment", "group", "bucket"] = Field(alias="schema")
    params: FiltersParams


Agg = Annotated[CountAgg | MetricAgg | TermsAgg | DateHistogramAgg | FiltersAgg, Field(discriminator="type")]
Aggs = Annotated[list[Agg], Field(min_length=1, max_length=12)]

# --- parameters of each visualisation --------------------------------------------------------------------------------


class TableParams(_Closed):
    """A data table."""

    per_page: int = Field(ge=1, le=100)
    show_partial_rows: bool
    show_metrics_at_all_levels: bool
    show_total: bool
    total_func: Literal["sum", "avg", "min", "max", "count"]
    percentage_col: str


class ColourRange(_Closed):
    """Values from ``from`` up to ``to`` have one colour."""

    from_: int = Field(alias="from")
    to: int


class Shown(_Closed):
    """Whether something is drawn."""

    show: bool


class MetricStyle(_Closed):
    """How the number is written."""

    bg_fill: str
    bg_color: bool
    label_color: bool
    sub_text: str
    font_size: int = Field(ge=8, le=120)


class MetricOptions(_Closed):
    """Colours and labels of a metric."""

    percentage_mode: bool
    use_ranges: bool
    color_schema: Literal["Green to Red", "Reds", "Blues", "Greys"]
    metric_color_mode: Literal["None", "Labels", "Background"]
    colors_range: list[ColourRange] = Field(min_length=1)
    invert_colors: bool
    labels: Shown
    style: MetricStyle


class MetricVisParams(_Closed):
    """Large numbers."""

    type: Literal["metric"]
    add_tooltip: bool
    add_legend: bool
    metric: MetricOptions


class AxisScale(_Closed):
    """Linear, or categories."""

    type: Literal["linear", "log"]
    mode: Literal["normal"] | None = None


class AxisLabels(_Closed):
    """Writing along an axis."""

    show: bool
    filter: bool
    truncate: int
    rotate: int | None = None


class AxisTitle(_Closed):
    """The name beside an axis."""

    text: str | None = None


class CategoryAxis(_Closed):
    """The axis of the buckets."""

    id: str
    type: Literal["category"]
    position: Literal["bottom", "left"]
    show: bool
    style: dict[str, Any]
    scale: AxisScale
    labels: AxisLabels
    title: AxisTitle


class ValueAxis(_Closed):
    """The axis of the numbers."""

    id: str
    name: str
    type: Literal["value"]
    position: Literal["left", "right", "bottom"]
    show: bool
    style: dict[str, Any]
    scale: AxisScale
    labels: AxisLabels
    title: AxisTitle


class SeriesData(_Closed):
    """The metric that a series draws."""

    id: AggId
    label: str


class Series(_Closed):
    """How one metric is drawn."""

    show: bool
    type: Literal["histogram", "line", "area"]
    mode: Literal["stacked", "normal"]
    data: SeriesData
    value_axis: str
    draw_lines_between_points: bool
    line_width: int
    show_circles: bool


class Grid(_Closed):
    """Lines behind the bars."""

    category_lines: bool


class ThresholdLine(_Closed):
    """A line at one value."""

    show: bool
    value: int
    width: int
    style: Literal["full", "dashed", "dot-dashed"]
    color: str


class HistogramVisParams(_Closed):
    """Bars over buckets."""

    type: Literal["histogram"]
    grid: Grid
    category_axes: list[CategoryAxis] = Field(min_length=1, max_length=1)
    value_axes: list[ValueAxis] = Field(min_length=1)
    series_params: list[Series] = Field(min_length=1)
    add_tooltip: bool
    add_legend: bool
    legend_position: Literal["right", "left", "top", "bottom"]
    times: list[Any] = Field(max_length=0)
    add_time_marker: bool
    labels: Shown
    threshold_line: ThresholdLine


class TableVis(_Closed):
    """A data table with its aggregations."""

    title: str
    type: Literal["table"]
    aggs: Aggs
    params: TableParams


class MetricVis(_Closed):
    """A metric with its aggregations."""

    title: str
    type: Literal["metric"]
    aggs: Aggs
    params: MetricVisParams


class HistogramVis(_Closed):
    """A histogram with its aggregations."""

    title: str
    type: Literal["histogram"]
    aggs: Aggs
    params: HistogramVisParams


VisState = TableVis | MetricVis | HistogramVis
VIS_STATE: TypeAdapter[VisState] = TypeAdapter(Annotated[VisState, Field(discriminator="type")])
#: The roles an aggregation can have in each visualisation.
ROLES = {
    "table": {"metric", "bucket"},
    "metric": {"metric", "group"},
    "histogram": {"metric", "segment", "group"},
}


def json_schema() -> dict[str, Any]:
    """Return the schema of a ``visState`` as JSON Schema (draft 2020-12)."""
    return VIS_STATE.json_schema(by_alias=True)
