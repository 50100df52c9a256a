"""What lies in deploy/, as tests read it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"

_NOT_METRICS = re.compile(
    r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)'
)
_NAME = re.compile(r"(?<![\w:.])[a-zA-Z_][\w:]*(?![\w:]*\s*\()")
_WORDS = {"and", "or", "unless", "offset", "bool", "by", "on", "group_left", "group_right"}


def needs(program: str, package: str) -> pytest.MarkDecorator:
    """Skip where a program is not installed; in CI it has to be."""
    absent = shutil.which(program) is None and not os.environ.get("CI")
    return pytest.mark.skipif(absent, reason=f"Debian's package {package} is not installed")


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules of a kind, ``record`` or ``alert``."""
    return [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if kind in rule
    ]


def panel_expressions() -> list[tuple[str, str]]:
    """Title and expression of every query of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        (panel["title"], target["expr"])
        for panel in _flat(panels)
        for target in panel.get("targets", [])
    ]


def variable_queries() -> list[str]:
    """Queries of the dashboard's variables."""
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    return [variable["query"] for variable in variables if variable["type"] == "query"]


def metric_names(expression: str) -> set[str]:
    """The metrics that an expression names.

    >>> sorted(metric_names('sum by (a) (rate(b_total{c="d"}[5m] offset 1h)) > 2 and e:f:max'))
    ['b_total', 'e:f:max']
    """
    return set(_NAME.findall(_NOT_METRICS.sub(" ", expression))) - _WORDS


def _flat(panels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        yield panel
        yield from _flat(panel.get("panels") or [])
