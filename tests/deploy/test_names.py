"""Nothing in deploy/ names what does not exist, and what is made there is as it is made."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from filterd.metrics import Metrics
from filterd.settings import KUBERNETES, PREFIX, Settings
from tests.deploy.files import DEPLOY, metric_names, panel_expressions, rules
from trainer.retraining import textfile
from trainer.settings import PREFIX as TRAINER_PREFIX
from trainer.settings import TrainerSettings

FILES = [
    path
    for path in sorted(DEPLOY.rglob("*"))
    if path.is_file() and not {part[:1] for part in path.relative_to(DEPLOY).parts} & {".", "_"}
]
SUFFIXES = ("_total", "_bucket", "_sum", "_count", "")


def mentioned(pattern: str) -> Iterator[tuple[str, str]]:
    """Every name of a form, and where it stands."""
    for path in FILES:
        for name in re.findall(pattern, path.read_text()):
            yield name, str(path.relative_to(DEPLOY))


def test_settings_exist() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {TRAINER_PREFIX + name.upper() for name in TrainerSettings.model_fields}
    found = list(mentioned(r"\b(?:FILTERD|TRAINER)_[A-Z_]+\b"))
    assert len(found) > 30
    unknown = [(name, where) for name, where in found if name not in known]
    assert not [(name, where) for name, where in unknown if not KUBERNETES.fullmatch(name)]


def test_metrics_exist(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    textfile.write(tmp_path / "retrain.prom", None, [])
    written = text_string_to_metric_families((tmp_path / "retrain.prom").read_text())
    families = {family.name for family in (*registry.collect(), *written)}
    known = {family + suffix for family in families for suffix in SUFFIXES}
    found = list(mentioned(r"(?<![\w:/.-])filterd_[a-z_]+(?![\w:/.-])"))
    assert len(found) > 60
    assert not [(name, where) for name, where in found if name not in known]


def test_every_metric_is_watched() -> None:
    """On a panel, in a rule, or both: a metric that nobody looks at is not worth its series."""
    registry = CollectorRegistry()
    Metrics(registry)
    expressions = [rule["expr"] for kind in ("record", "alert") for rule in rules(kind)]
    expressions += [text for _, text in panel_expressions()]
    watched = set().union(*map(metric_names, expressions))
    for family in registry.collect():
        assert any(family.name + suffix in watched for suffix in SUFFIXES), family.name


def test_every_alert_has_a_runbook() -> None:
    headings = re.findall(r"(?m)^### (\w+)$", (DEPLOY / "README.md").read_text())
    alerts = {rule["alert"] for rule in rules("alert")}
    assert alerts == set(headings)
    for rule in rules("alert"):
        annotations = rule["annotations"]
        assert annotations["runbook"] == f"deploy/README.md#{rule['alert'].lower()}"
        assert annotations["summary"]
        assert annotations["description"]
        assert rule["labels"]["severity"] in ("critical", "warning")


@pytest.mark.parametrize(
    ("program", "made"),
    [
        ("grafana/dashboard.py", "grafana/dashboard.json"),
        ("kubernetes/prometheus_rule.py", "kubernetes/prometheus-rule.yaml"),
    ],
)
def test_what_is_made_is_up_to_date(program: str, made: str) -> None:
    done = subprocess.run([sys.executable, DEPLOY / program], capture_output=True, check=True)
    assert (DEPLOY / made).read_bytes() == done.stdout, "run: make deploy"


def test_links_of_the_guide_lead_somewhere() -> None:
    text = (DEPLOY / "README.md").read_text()
    headings = {_anchor(found) for found in re.findall(r"(?m)^#+ (.+)$", text)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
    for path in re.findall(r"`((?:kubernetes|systemd|prometheus|grafana|redis)/[\w./-]*)`", text):
        assert (DEPLOY / path).exists(), path


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
