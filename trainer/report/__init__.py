"""The report: evaluation.json, plots, and one page that needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.evaluation import Evaluation
from trainer.report import page, plots
from trainer.report.theme import LIGHT, render

if TYPE_CHECKING:
    from trainer.course import Trained
    from trainer.findings import Findings

PAGE = "report.html"


def files(
    trained: Trained, evaluations: Mapping[str, Evaluation], baseline: Evaluation | None = None
) -> dict[str, bytes]:
    """Every file of an artifact's ``report/`` by its name.

    evaluations: by split, ``test`` among them, which the plots show · baseline: on ``test``.
    """
    course: dict[str, Any] = {
        "epochs": [asdict(epoch) for epoch in trained.history],
        "kept_epoch": trained.best,
        "looks": [asdict(look) for look in trained.looks],
        **{name: found.as_json() for name, found in evaluations.items()},
    }
    if baseline is not None:
        course["baseline"] = baseline.as_json()
    found = plots.all_of(evaluations["test"], baseline, course)
    return {"evaluation.json": _json(course), **_pngs(found)}


def write_page(folder: Path, findings: Findings) -> Path:
    """Write the page, the plots and evaluation.json into a folder; returns the page's path.

    What the folder holds under other names stays.
    """
    found = plots.all_of(findings.evaluation, findings.baseline, findings.course)
    contents = {
        "evaluation.json": _json(findings.as_json()),
        PAGE: page.html(findings, found).encode(),
        **_pngs(found),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder / PAGE


def _pngs(found: Mapping[str, plots.Plot]) -> dict[str, bytes]:
    return {f"{name}.png": render(plot.draw, LIGHT, "png") for name, plot in found.items()}


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
