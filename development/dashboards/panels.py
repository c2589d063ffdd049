"""Panels: thin functions over the builders of Grafana's Foundation SDK. A dashboard then reads as a list of questions.

Rules of this module:
- Every panel has a title that is a question, a description that says how to read the answer, and a unit.
- Every panel asks the data source that is chosen above the dashboard.
- Sizes are in Grafana's grid: 24 columns. The layout sets where panels are, and their ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
    trend,
)
from grafana_foundation_sdk.models import common as words
from grafana_foundation_sdk.models import heatmap as heatmap_words
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    MatcherConfig,
    Panel,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATA_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")

SECONDS: Final = units.Seconds
RATIO: Final = units.PercentUnit
# Grafana has no unit for "times as fast".
TIMES: Final = "suffix:×"
COUNT: Final = units.Short

GREEN, ORANGE, RED = "green", "orange", "red"
# Every fixed colour has a contrast of at least 3 to 1, to white and to Grafana's dark ground alike.
CALM, LATE, BAD, BUSY, GREY, BLUE = "#3f8a5f", "#b08c00", "#d9343f", "#d9662b", "#8a8a8a", "#4379d6"
# The colours of what a run is made of, the same on every dashboard: time that was work is calm, what was lost is not.
CAUSES: Final = {
    "running": CALM, "slowdown": LATE, "overhead": BAD, "worker": BUSY, "barrier": "#a256cc", "backoff": "#96705a",
    "blocked": "#7f7f7f", "arrival": "#6f86a8",
}  # fmt: skip

Kind = Literal["instant", "range"]


@dataclass(frozen=True, slots=True)
class Query:
    """One question to Prometheus. ``legend`` names its series. ``table``: rows instead of curves."""

    expression: str
    legend: str = ""
    kind: Kind = "range"
    table: bool = False
    heat_map: bool = False
    exemplars: bool = False
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What all kinds of panels have. ``limits``: values from which on the colour changes, with it, first the lowest."""

    question: str
    description: str
    unit: str
    width: int = 12
    height: int = 8
    limits: Sequence[tuple[float | None, str]] = ()
    decimals: int | None = None
    colours: Mapping[str, str] = field(default_factory=dict)
    legend: bool = True
    least: float | None = 0


AnyBuilder = timeseries.Panel | trend.Panel | barchart.Panel | bargauge.Panel | stat.Panel | table.Panel | heatmap.Panel


def time_series(
    look: Look, queries: Sequence[Query], *, steps: bool = False, points: bool = False, fill: int = 0,
    interval: str = "", dashed: str = "", limits: Mapping[str, str] | None = None,
) -> Panel:  # fmt: skip
    """Curves over time. ``steps``: a value holds until the next one. ``points``: each run is a point. ``dashed``: a
    regular expression for the names of curves that are limits. ``limits``: names of curves that are what a value is
    judged by, with their colours; Grafana's own lines at thresholds have no names.
    """
    panel = timeseries.Panel().draw_style(words.GraphDrawStyle.LINE).fill_opacity(fill).line_width(2)
    panel.line_interpolation(words.LineInterpolation.STEP_AFTER if steps else words.LineInterpolation.LINEAR)
    panel.show_points(words.VisibilityMode.ALWAYS if points else words.VisibilityMode.NEVER)
    panel.span_nulls(True)
    if points:
        panel.point_size(7)
    if interval:
        panel.interval(interval)
    if dashed:
        panel.override_by_regexp(dashed, [DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]})])
    panel.legend(_legend(look)).tooltip(common.VizTooltipOptions().mode(words.TooltipDisplayMode.MULTI))
    for name, colour in (limits or {}).items():
        panel.override_by_name(name, [
            DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour}),
            DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
            DynamicConfigValue("custom.showPoints", "never"),
        ])  # fmt: skip
    return _finished(panel, look, queries)


def over_workers(look: Look, query: Query, *, series: str) -> Panel:
    """Curves over the number of workers, one for each value of the label ``series``; the one called ideal is dashed."""
    panel = trend.Panel().x_field(f"workers\\{series}").draw_style(words.GraphDrawStyle.LINE).line_width(2)
    panel.show_points(words.VisibilityMode.ALWAYS).point_size(7).span_nulls(True).legend(_legend(look))
    panel.tooltip(common.VizTooltipOptions().mode(words.TooltipDisplayMode.MULTI))
    _as_matrix(panel, "workers", series)
    panel.with_transformation(
        DataTransformerConfig(
            id_val="convertFieldType",
            options={"conversions": [{"targetField": f"workers\\{series}", "destinationType": "number"}], "fields": {}},
        )
    )
    panel.with_transformation(
        DataTransformerConfig(id_val="sortBy", options={"fields": {}, "sort": [{"field": f"workers\\{series}"}]})
    )
    dashed = DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]})
    grey = DynamicConfigValue("color", {"mode": "fixed", "fixedColor": GREY})
    panel.override_by_name("ideal", [dashed, grey])
    # The axis below counts workers: the unit of the values is not its unit.
    panel.override_by_name(f"workers\\{series}", [DynamicConfigValue("unit", COUNT)])
    return _finished(panel, look, [replace(query, kind="instant", table=True)])


def bars(look: Look, query: Query, *, rows: str, columns: str, stacked: bool = False, flat: bool = True) -> Panel:
    """A group of bars, or one stacked bar, for each value of the label ``rows``; a bar for each of ``columns``."""
    panel = barchart.Panel().x_field(f"{rows}\\{columns}").legend(_legend(look)).fill_opacity(85)
    panel.orientation(words.VizOrientation.HORIZONTAL if flat else words.VizOrientation.VERTICAL)
    panel.stacking(words.StackingMode.NORMAL if stacked else words.StackingMode.NONE)
    panel.show_value(words.VisibilityMode.NEVER).tooltip(
        common.VizTooltipOptions().mode(words.TooltipDisplayMode.MULTI)
    )
    _as_matrix(panel, rows, columns)
    return _finished(panel, look, [replace(query, kind="instant", table=True)])


def figure(look: Look, query: Query, *, name_too: bool = False) -> Panel:
    """Numbers, large."""
    panel = stat.Panel().graph_mode(words.BigValueGraphMode.NONE)
    panel.text_mode(words.BigValueTextMode.VALUE_AND_NAME if name_too else words.BigValueTextMode.VALUE)
    panel.color_mode(words.BigValueColorMode.VALUE if look.limits else words.BigValueColorMode.NONE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    return _finished(panel, look, [replace(query, kind="instant")])


def lengths(look: Look, query: Query) -> Panel:
    """A bar with its number for each series; one that is 0 is still named."""
    panel = bargauge.Panel().display_mode(words.BarGaugeDisplayMode.BASIC).show_unfilled(True)
    panel.orientation(words.VizOrientation.HORIZONTAL).value_mode(words.BarGaugeValueMode.TEXT)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.FIXED).fixed_color(BLUE))
    return _finished(panel, look, [replace(query, kind="instant")])


def rows(
    look: Look, queries: Sequence[Query], *, names: Mapping[str, str], hidden: Sequence[str] = (),
    units_of: Mapping[str, str] | None = None, links: Mapping[str, Sequence[tuple[str, str]]] | None = None,
) -> Panel:  # fmt: skip
    """A table. ``names``: a column's new name by its old one, in the order of columns; ``hidden`` ones are left out.

    ``units_of`` and ``links`` (title and address) belong to columns by their new names.
    """
    panel = table.Panel().show_header(True)
    if len(queries) > 1:
        panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": dict.fromkeys(hidden, True),
                "indexByName": {name: place for place, name in enumerate(names)},
                "renameByName": dict(names),
            },
        )
    )
    for name, unit in (units_of or {}).items():
        panel.override_by_name(name, [DynamicConfigValue("unit", unit)])
    for name, targets in (links or {}).items():
        listed = [{"title": title, "url": url, "targetBlank": False} for title, url in targets]
        panel.override_by_name(name, [DynamicConfigValue("links", listed)])
    return _finished(panel, look, [replace(query, table=True) for query in queries])


def heat_map(look: Look, query: Query, *, interval: str = "") -> Panel:
    """How many observations fell into each bucket of a histogram, over time."""
    panel = heatmap.Panel().calculate(False).cell_gap(1).hide_y_histogram().show_color_scale(True)
    panel.show_legend().mode(words.TooltipDisplayMode.SINGLE)
    panel.color(
        heatmap.HeatmapColorOptions().mode(heatmap_words.HeatmapColorMode.SCHEME).scheme("Oranges").steps(32)
        .exponent(0.5).fill("dark-orange").reverse(False)
    )  # fmt: skip
    panel.y_axis(heatmap.YAxisConfig().unit(look.unit).axis_placement(words.AxisPlacement.LEFT))
    panel.cell_values(heatmap.CellValues().unit(COUNT)).filter_values(heatmap.FilterValueRange().le(1e-9))
    panel.exemplars_color("rgba(67,121,214,0.9)").rows_frame(
        heatmap.RowsHeatmapOptions().layout(words.HeatmapCellLayout.AUTO)
    )
    if interval:
        panel.interval(interval)
    return _finished(panel, replace(look, least=None), [replace(query, heat_map=True)])


def _legend(look: Look) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().display_mode(words.LegendDisplayMode.LIST)
    return legend.placement(words.LegendPlacement.BOTTOM).show_legend(look.legend).calcs([])


def _as_matrix(panel: trend.Panel | barchart.Panel, row: str, column: str) -> None:
    panel.with_transformation(
        DataTransformerConfig(
            id_val="groupingToMatrix",
            options={"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "null"},
        )
    )


def _finished(panel: AnyBuilder, look: Look, queries: Sequence[Query]) -> Panel:
    panel.title(look.question).description(look.description).datasource(DATA_SOURCE).unit(look.unit)
    panel.span(look.width).height(look.height)
    if look.least is not None:
        panel.min(look.least)
    if look.decimals is not None:
        panel.decimals(look.decimals)
    if look.limits:
        steps = [Threshold(value=value, color=colour) for value, colour in look.limits]
        panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    if isinstance(panel, stat.Panel | table.Panel) and look.limits:
        panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    for name, colour in look.colours.items():
        value = DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
        panel.with_override(MatcherConfig(id_val="byName", options=name), [value])
    for letter, query in zip("ABCDEFGHIJ", queries, strict=False):
        panel.with_target(_target(query, letter))
    return panel.build()


def _target(query: Query, letter: str) -> prometheus.Dataquery:
    asked = prometheus.Dataquery().expr(query.expression).ref_id(letter).datasource(DATA_SOURCE)
    asked = asked.instant() if query.kind == "instant" else asked.range()
    if query.legend:
        asked.legend_format(query.legend)
    if query.interval:
        asked.interval(query.interval)
    form = PromQueryFormat.TIME_SERIES
    if query.table:
        form = PromQueryFormat.TABLE
    elif query.heat_map:
        form = PromQueryFormat.HEATMAP
    return asked.format(form).exemplar(query.exemplars)
