"""The page: one HTML file that loads nothing, for a person who asks how good it is."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from trainer.baseline import NAME as BASELINE
from trainer.bootstrap import RESAMPLES
from trainer.evaluation import Evaluation
from trainer.findings import Findings, shown, verdict
from trainer.measures import LOWER_IS_BETTER, MEASURED
from trainer.report.plots import Plot
from trainer.report.theme import DARK, LIGHT, Theme, render

EXPLAINED = {
    "accuracy": ("Accuracy", "right answers, of all messages"),
    "f1": ("F1", "precision and recall in one number"),
    "precision": ("Precision", "spam, of what was called spam"),
    "recall": ("Recall", "found, of all spam"),
    "false_positive_rate": ("Ham blocked", "called spam, of all ham"),
    "mcc": ("MCC", "agreement beyond chance, of both labels alike"),
    "auc": ("AUC", "how often spam scores above ham"),
    "recall_at_1_in_1000": ("Recall at 0.1% ham blocked", "of all spam, by a stricter threshold"),
    "recall_at_1_in_100": ("Recall at 1% ham blocked", "of all spam, by such a threshold"),
    "calibration_error": ("Calibration error", "how far scores are from shares of spam"),
    "loss": ("Loss", "cross-entropy of the scores, in nats"),
}
IN_TABLES = {"confusion"}
"""Plots of which the page has a table instead."""


@dataclass(frozen=True, slots=True)
class Row:
    """A measure as the page shows it."""

    title: str
    about: str
    lower_is_better: bool
    value: str
    interval: str
    theirs: str
    their_interval: str
    verdict: str


def html(findings: Findings, plots: Mapping[str, Plot]) -> str:
    """The whole page, as HTML."""
    differences = findings.differences
    return (
        environment()
        .get_template("page.html")
        .render(
            found=findings,
            measures=findings.evaluation.measures,
            headline=headline(findings),
            comparison=comparison(findings),
            rows=[_row(findings, name, verdict(name, differences.get(name))) for name in MEASURED],
            figures=[_figure(plot) for name, plot in plots.items() if name not in IN_TABLES],
            altered=_altered(findings),
            baseline_name=BASELINE,
            resamples=RESAMPLES,
        )
    )


def environment() -> Environment:
    """The templates of all pages."""
    return Environment(
        loader=PackageLoader("trainer", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def headline(findings: Findings) -> str:
    """What it does, in one sentence that needs no statistics."""
    found = findings.evaluation.measures
    does = []
    if found.spam:
        does.append(f"finds {found.spam_found:,} of {found.spam:,} spam ({_share(found.recall)})")
    if found.ham:
        wrong = _share(found.false_positive_rate)
        does.append(f"blocks {found.ham_blocked:,} of {found.ham:,} wanted messages ({wrong})")
    return f"It {' and '.join(does)}."


def comparison(findings: Findings) -> str:
    """How it stands against the baseline, in one sentence; empty where that cannot be told."""
    if findings.baseline is None or "f1" not in findings.differences:
        return ""
    difference = findings.differences["f1"]
    ours, theirs = (shown(e.measures.f1) for e in (findings.evaluation, findings.baseline))
    says = {
        "better": "It is better than the baseline",
        "worse": "The baseline is better",
        "no difference shown": "These messages show no difference to the baseline",
    }[verdict("f1", difference)]
    return (
        f"{says}, {BASELINE} trained on the same split: F1 {ours} against {theirs}, a difference "
        f"of {difference.low:+.4f} to {difference.high:+.4f} (95% interval)."
    )


def _row(findings: Findings, name: str, judgement: str) -> Row:
    title, about = EXPLAINED[name]
    value, interval = _cells(findings.evaluation, name)
    theirs = ("", "") if findings.baseline is None else _cells(findings.baseline, name)
    return Row(title, about, name in LOWER_IS_BETTER, value, interval, *theirs, judgement)


def _cells(evaluation: Evaluation, name: str) -> tuple[str, str]:
    """A measure, and its interval or why there is none."""
    value = shown(getattr(evaluation.measures, name))
    if name not in evaluation.intervals:
        return value, evaluation.reasons.get(name, "")
    low, high = evaluation.intervals[name]
    return value, f"{low:.4f} to {high:.4f}"


def _altered(findings: Findings) -> list[dict[str, str]]:
    """Rows of robustness, the baseline's recall beside the artifact's."""
    ours, theirs = findings.robustness or [], findings.baseline_robustness or []
    others = {row.alteration: _share(row.recall) for row in theirs}
    return [
        {
            "name": row.alteration.replace("_", " "),
            "recall": _share(row.recall),
            "interval": f"{_share(row.low)} to {_share(row.high)}",
            "change": f"{row.change:+.1%}" if row.alteration != "plain" else "",
            "theirs": others.get(row.alteration, ""),
            "changed": f"{row.changed:,}" if row.alteration != "plain" else "",
        }
        for row in ours
    ]


def _figure(plot: Plot) -> dict[str, str]:
    return {
        "title": plot.title,
        "caption": plot.caption,
        "light": _uri(plot, LIGHT),
        "dark": _uri(plot, DARK),
    }


def _uri(plot: Plot, theme: Theme) -> str:
    image = base64.b64encode(render(plot.draw, theme, "svg")).decode()
    return f"data:image/svg+xml;base64,{image}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
