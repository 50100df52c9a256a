"""What the dashboard is made of: expressions, and panels in one style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panel: TypeAlias = stat.Panel | timeseries.Panel | heatmap.Panel
Query: TypeAlias = tuple[str, str]
"""An expression and its legend."""

SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
SEL = 'job=~"$job"'
RATE = "$__rate_interval"
SEVERE, WORRYING, FINE, PLAIN = "red", "orange", "green", "text"


def rate(metric: str, by: str = "", **labels: str) -> str:
    """What a counter gains a second, summed, or split by labels."""
    chosen = ", ".join([SEL, *(f'{name}="{value}"' for name, value in labels.items())])
    split = f" by ({by})" if by else ""
    return f"sum{split} (rate({metric}{{{chosen}}}[{RATE}]))"


def mean(histogram: str) -> str:
    """The mean of what a histogram observed."""
    return f"{rate(histogram + '_sum')} / {rate(histogram + '_count')}"


def quantiles(histogram: str, *shares: float) -> list[Query]:
    """A line for each quantile."""
    buckets = rate(f"{histogram}_bucket", "le")
    return [(f"histogram_quantile({share:g}, {buckets})", f"p{share * 100:g}") for share in shares]


def query(expression: str, legend: str, ref: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref)


def number(
    title: str,
    text: str,
    expression: str,
    unit: str = "short",
    limits: Sequence[tuple[float, str]] = (),
    first: str = PLAIN,
) -> stat.Panel:
    """One large number. limits: from which value on it has which colour."""
    steps = [Threshold(None, first), *(Threshold(value, colour) for value, colour in limits)]
    return (
        stat.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .with_target(query(expression, title, "A").instant())
        .unit(unit)
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(4)
        .span(3)
    )


def lines(
    title: str,
    text: str,
    queries: Sequence[Query],
    unit: str = "short",
    *,
    stacked: bool = False,
) -> timeseries.Panel:
    """Lines over time, or areas on top of each other."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .line_width(1)
        .fill_opacity(40 if stacked else 8)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .height(8)
        .span(8)
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for position, (expression, legend) in enumerate(queries):
        panel.with_target(query(expression, legend, chr(ord("A") + position)))
    return panel


def density(title: str, text: str, histogram: str, unit: str) -> heatmap.Panel:
    """A histogram over time."""
    buckets = query(rate(f"{histogram}_bucket", "le"), "{{le}}", "A")
    return (
        heatmap.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .with_target(buckets.format(PromQueryFormat.HEATMAP))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .height(8)
        .span(8)
    )
