"""Metrics of the retrain job: a textfile that Prometheus's node exporter reads."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from trainer.history import Change
from trainer.retraining.run import Ended, Outcome

OUTCOMES = (*get_args(Outcome), "failed")


def write(path: Path, ended: Ended | None, committed: list[Change]) -> None:
    """Replace the file at once. ended: None for a run that failed · committed: all runs that
    came to an outcome."""
    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace="filterd_retrain", registry=registry)

    gauge("last_run_timestamp_seconds", "When the last run ended").set(time.time())
    outcome = gauge("last_outcome", "1 for what became of the last run", "outcome")
    for name in OUTCOMES:
        outcome.labels(name.replace(" ", "_")).set(
            name == ("failed" if ended is None else ended.outcome)
        )
    for action in ("promote", "keep"):
        times = [_seconds(change) for change in committed if change.action == action]
        what = gauge(f"last_{action}_timestamp_seconds", f"When a run last did {action}")
        what.set(max(times, default=0))
    if ended is not None:
        gauge("duration_seconds", "How long the last run took").set(ended.seconds)
    if ended is not None and ended.found is not None:
        _measured(ended, gauge)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), registry)


def _measured(ended: Ended, gauge: Callable[..., Gauge]) -> None:
    """What the run found."""
    found = ended.found or {}
    feedback = gauge("feedback", "Feedback of the last run, by what it was", "kind")
    for kind, count in found["feedback"].items():
        feedback.labels(kind).set(count)
    passed = gauge("check_passed", "1 for what the last challenger passed of the gate", "check")
    for check in found["checks"]:
        passed.labels(check["name"].replace(" ", "_")).set(check["passed"])
    measure = gauge("measure", "Measures of the last run", "artifact", "set", "measure")
    for name, pair in found["measures"].items():
        for artifact in ("challenger", "champion"):
            for kind in ("f1", "auc", "accuracy", "false_positive_rate"):
                value = pair[artifact][kind]
                measure.labels(artifact, name, kind).set(float("nan") if value is None else value)
    drift = gauge("drift", "Distance to the run before, 0 to 1", "of", "counted")
    for of, values in found["drift"].items():
        for counted, value in values.items():
            drift.labels(of, counted).set(value)


def _seconds(change: Change) -> float:
    return datetime.fromisoformat(change.at).timestamp()
