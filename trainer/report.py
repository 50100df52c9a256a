"""The report: evaluation.json and small plots, as bytes that go into the artifact."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from trainer.evaluation import Evaluation
from trainer.training import Trained

DPI = 90
HAM, SPAM = "#2b6cb0", "#c05621"


def files(trained: Trained, evaluations: dict[str, Evaluation]) -> dict[str, bytes]:
    """Every file of the report by its name; ``evaluations`` by split, ``test`` among them."""
    test = evaluations["test"]
    course = {
        "epochs": [asdict(epoch) for epoch in trained.history],
        "kept_epoch": trained.best,
        **{name: asdict(found.measures) for name, found in evaluations.items()},
    }
    return {
        "evaluation.json": (json.dumps(course, indent=2) + "\n").encode(),
        "loss.png": _course(trained, "loss"),
        "accuracy.png": _course(trained, "accuracy"),
        "roc.png": _roc(test),
        "confusion.png": _confusion(test),
        "scores.png": _scores(test),
    }


def _course(trained: Trained, what: str) -> bytes:
    """The article's plot: train and validation over epochs, with examples seen above."""
    figure, axes = _figure()
    epochs = [epoch.number for epoch in trained.history]
    examples = [epoch.examples for epoch in trained.history]
    values: Sequence[float] = [getattr(epoch, f"train_{what}") for epoch in trained.history]
    axes.plot(epochs, values, color=HAM, label=f"training {what}")
    values = [getattr(epoch, f"validation_{what}") for epoch in trained.history]
    axes.plot(epochs, values, color=SPAM, linestyle="-.", label=f"validation {what}")
    axes.axvline(trained.best, color="grey", linewidth=0.7, label="kept")
    axes.set(xlabel="epochs", ylabel=what)
    axes.legend()
    above = axes.twiny()
    above.plot(examples, values, alpha=0)
    above.set_xlabel("examples seen")
    return _png(figure)


def _roc(evaluation: Evaluation) -> bytes:
    figure, axes = _figure()
    ham_blocked, spam_found, _ = roc_curve(evaluation.spam, evaluation.scores)
    axes.plot(ham_blocked, spam_found, color=SPAM)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.7)
    title = f"test split, AUC {evaluation.measures.auc:.4f}"
    axes.set(xlabel="share of ham blocked", ylabel="share of spam found", title=title)
    return _png(figure)


def _confusion(evaluation: Evaluation) -> bytes:
    found = evaluation.measures
    figure, axes = _figure()
    rows = [[found.ham_kept, found.ham_blocked], [found.spam_missed, found.spam_found]]
    shares = [[count / max(1, sum(row)) for count in row] for row in rows]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, (counts, parts) in enumerate(zip(rows, shares, strict=True)):
        for column, (count, part) in enumerate(zip(counts, parts, strict=True)):
            color = "white" if part > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=color)
    axes.set_xticks([0, 1], ["called ham", "called spam"])
    axes.set_yticks([0, 1], ["ham", "spam"])
    axes.set_title("test split")
    return _png(figure)


def _scores(evaluation: Evaluation) -> bytes:
    figure, axes = _figure()
    parts = [evaluation.scores[evaluation.spam == label] for label in (0, 1)]
    axes.hist(parts, bins=20, range=(0, 1), color=[HAM, SPAM], label=["ham", "spam"])
    axes.set(xlabel="score", ylabel="messages of the test split", yscale="log")
    axes.legend()
    return _png(figure)


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 3), dpi=DPI, layout="constrained")
    return figure, figure.add_subplot()


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
