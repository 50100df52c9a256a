"""The dashboard, built with Grafana's own SDK; ``make deploy`` writes dashboard.json from it.

Read from the top: how it stands now, what passes, how long it takes, what waits, what the engine
does, which models, and the processes themselves. ``$job`` is the scrape job, one for each group.
"""

from __future__ import annotations

import json
import sys

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    VariableRefresh,
)
from panels import SEVERE, SOURCE
from rows import backlog, engine, latency, models, now, processes, traffic


def build() -> Dashboard:
    """The whole dashboard."""
    made = (
        dashboard.Dashboard("filterd")
        .uid("filterd")
        .description("Spam or ham: what passes, how long it takes, what waits.")
        .tags(["filterd"])
        .readonly()
        .time("now-3h", "now")
        .refresh("15s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus")
        )
        .with_variable(
            dashboard.QueryVariable("job")
            .label("Job")
            .datasource(SOURCE)
            .query("label_values(filterd_ready, job)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".+")
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Alerts")
            .datasource(SOURCE)
            .icon_color(SEVERE)
            .expr('ALERTS{alertname=~"Filterd.+", alertstate="firing"}')
        )
    )
    for title, panels in (
        ("Now", now()),
        ("Traffic", traffic()),
        ("Latency", latency()),
        ("Backlog", backlog()),
        ("Engine", engine()),
        ("Models", models()),
        ("Daemons", processes()),
    ):
        made.with_row(dashboard.Row(title))
        for panel in panels:
            made.with_panel(panel)
    return made.build()


if __name__ == "__main__":
    json.dump(build(), sys.stdout, cls=JSONEncoder, indent=2, sort_keys=True)
    sys.stdout.write("\n")
