"""The plots: each draws one thing onto axes, in a theme's colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from trainer import calibration
from trainer.bootstrap import share_interval
from trainer.calibration import Floats
from trainer.evaluation import Evaluation
from trainer.report.theme import Draw, Theme

LEAST_RATE = 1e-4
OURS, THEIRS = "this artifact", "baseline"


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot, what stands above it, and below it for who reads such a plot for the first time."""

    title: str
    caption: str
    draw: Draw


def all_of(
    evaluation: Evaluation, baseline: Evaluation | None, course: Mapping[str, Any] | None
) -> dict[str, Plot]:
    """Every plot that there is something to draw in, by its name."""
    found = {
        "confusion": Plot(
            "Confusion matrix",
            "What the messages are, and what they were called.",
            partial(_confusion, evaluation),
        ),
        "scores": Plot(
            "Scores",
            "How many messages got which score. The dashed line is the threshold; the fewer stand "
            "on the wrong side of it, and near it, the better. The axis is logarithmic.",
            partial(_scores, evaluation),
        ),
        "reliability": Plot(
            "Reliability",
            "Of the messages that score 0.8, are 80% spam? Points on the diagonal say yes; bars "
            "are 95% intervals. Each point stands for as many messages.",
            partial(_reliability, evaluation, baseline),
        ),
    }
    if evaluation.measures.auc is not None:
        found = _curves(evaluation, baseline) | found
    return found | _courses(course or {})


def _curves(evaluation: Evaluation, baseline: Evaluation | None) -> dict[str, Plot]:
    both = [(evaluation, OURS)] + ([(baseline, THEIRS)] if baseline is not None else [])
    return {
        "roc": Plot(
            "ROC",
            "Spam found against ham blocked, for every threshold there could be. The point is the "
            "artifact's own.",
            partial(_roc, both, False),
        ),
        "roc-low": Plot(
            "ROC where little ham is blocked",
            "The same with a logarithmic axis: the part that a filter is used in. Left of one "
            "blocked message there is nothing to measure.",
            partial(_roc, both, True),
        ),
        "precision-recall": Plot(
            "Precision and recall",
            "How much of what is called spam is spam, as more of the spam is found.",
            partial(_precision_recall, both),
        ),
    }


def _courses(course: Mapping[str, Any]) -> dict[str, Plot]:
    """The article's two plots, from an artifact's history."""
    epochs = course.get("epochs") or []
    needed = {f"{part}_{what}" for part in ("train", "validation") for what in ("loss", "accuracy")}
    if not epochs or not all(needed | {"number", "examples"} <= set(epoch) for epoch in epochs):
        return {}
    kept = course.get("kept_epoch")
    points = _looks(course, epochs) or epochs
    return {
        what: Plot(
            f"{what.capitalize()} while training",
            "Where validation turns away from training, it learns by heart. The grey line is the "
            "epoch that was kept.",
            partial(_course, points, kept, what),
        )
        for what in ("loss", "accuracy")
    }


def _looks(
    course: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """What was looked at between steps, as points of the same form as epochs."""
    an_epoch = epochs[-1]["examples"] / max(epochs[-1]["number"], 1)
    looks = course.get("looks") or []
    return [{**look, "number": look["examples"] / max(an_epoch, 1)} for look in looks]


def _course(
    epochs: Sequence[Mapping[str, Any]], kept: int | None, what: str, axes: Axes, theme: Theme
) -> None:
    """Train and validation over epochs, with examples seen above."""
    numbers = [epoch["number"] for epoch in epochs]
    marker = "o" if len(epochs) == 1 else ""
    for part, color, line in (("training", theme.ours, "-"), ("validation", theme.spam, "-.")):
        values = [epoch[f"{part.removesuffix('ing')}_{what}"] for epoch in epochs]
        axes.plot(numbers, values, color=color, linestyle=line, marker=marker, label=part)
    if kept is not None:
        axes.axvline(kept, color=theme.theirs, linewidth=1, label="kept")
    axes.set(xlabel="epochs", ylabel=what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.legend()
    above = axes.twiny()
    an_epoch = epochs[-1]["examples"] / max(epochs[-1]["number"], 1)
    above.set_xlim(*(end * an_epoch for end in axes.get_xlim()))
    above.xaxis.set_major_locator(MaxNLocator(nbins=5))
    above.xaxis.set_major_formatter("{x:,.0f}")
    above.set_xlabel("examples seen")
    above.grid(visible=False)


def _roc(both: Sequence[tuple[Evaluation, str]], low: bool, axes: Axes, theme: Theme) -> None:
    measures = both[0][0].measures
    least = max(LEAST_RATE, 0.7 / max(1, measures.ham)) if low else 0.0
    bottom = 1.0
    for (evaluation, name), color in zip(reversed(both), _colors(both, theme), strict=True):
        blocked, found, _ = roc_curve(evaluation.spam, evaluation.scores, drop_intermediate=True)
        label = f"{name}, AUC {evaluation.measures.auc:.4f}"
        axes.plot(blocked, found, color=color, drawstyle="steps-post", label=label)
        bottom = min(bottom, float(found[blocked <= least].max()))
    axes.set(xlabel="share of ham blocked", ylabel="share of spam found")
    if low:
        axes.set(xscale="log", xlim=(least, 1), ylim=(max(-0.05, bottom - 0.1), 1.02))
    else:
        axes.plot([0, 1], [0, 1], color=theme.faint, linewidth=1, linestyle="--")
    point = (max(least, measures.false_positive_rate or 0.0), measures.recall or 0.0)
    axes.plot(*point, "o", color=theme.ours, clip_on=False, label="at its threshold")
    axes.legend(loc="lower right")


def _precision_recall(both: Sequence[tuple[Evaluation, str]], axes: Axes, theme: Theme) -> None:
    for (evaluation, name), color in zip(reversed(both), _colors(both, theme), strict=True):
        precision, recall, _ = precision_recall_curve(
            evaluation.spam, evaluation.scores, drop_intermediate=True
        )
        axes.plot(recall, precision, color=color, drawstyle="steps-post", label=name)
    measures = both[0][0].measures
    if measures.spam_found + measures.ham_blocked:
        point = (measures.recall or 0.0, measures.precision or 0.0)
        axes.plot(*point, "o", color=theme.ours, clip_on=False, label="at its threshold")
    axes.set(xlabel="recall: share of spam found", ylabel="precision", ylim=(0, 1.03))
    axes.legend(loc="lower left")


def _colors(both: Sequence[object], theme: Theme) -> list[str]:
    """The artifact is drawn last, over the baseline."""
    return [theme.theirs, theme.ours][-len(both) :]


def _reliability(
    evaluation: Evaluation, baseline: Evaluation | None, axes: Axes, theme: Theme
) -> None:
    axes.plot([0, 1], [0, 1], color=theme.faint, linewidth=1, linestyle="--")
    if baseline is not None:
        means, shares, _ = _binned(baseline)
        axes.plot(means, shares, ".-", color=theme.theirs, linewidth=1, label=THEIRS)
    means, shares, reach = _binned(evaluation)
    axes.errorbar(
        means, shares, reach, color=theme.ours, marker="o", markersize=4, linewidth=1.4, label=OURS
    )
    axes.set(xlabel="mean score", ylabel="share of spam", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.legend(loc="upper left")


def _binned(evaluation: Evaluation) -> tuple[Floats, Floats, Floats]:
    """Of each bin of the calibration error: mean score, share of spam, reach below and above."""
    order = np.argsort(evaluation.scores, kind="stable")
    starts = calibration.bin_starts(evaluation.scores[order])
    sizes = np.diff([*starts, len(order)])
    means = np.add.reduceat(evaluation.scores[order], starts) / sizes
    hits = np.add.reduceat(evaluation.spam[order], starts)
    shares = hits / sizes
    ends = np.array([share_interval(hit, size) for hit, size in zip(hits, sizes, strict=True)])
    reach = np.maximum(0, np.stack([shares - ends[:, 0], ends[:, 1] - shares]))
    return means, shares, reach


def _confusion(evaluation: Evaluation, axes: Axes, theme: Theme) -> None:
    found = evaluation.measures
    rows = [[found.ham_kept, found.ham_blocked], [found.spam_missed, found.spam_found]]
    shares = [[count / max(1, sum(row)) for count in row] for row in rows]
    axes.imshow(shares, cmap=theme.fill, vmin=0, vmax=1.3, aspect="auto")
    for row, (counts, parts) in enumerate(zip(rows, shares, strict=True)):
        for column, (count, part) in enumerate(zip(counts, parts, strict=True)):
            strong = (part > 0.5) == (theme.fill == "Purples")
            text = f"{count:,}\n{part:.1%}"
            axes.text(
                column, row, text, ha="center", va="center", color="white" if strong else "black"
            )
    axes.set_xticks([0, 1], ["called ham", "called spam"])
    axes.set_yticks([0, 1], ["ham", "spam"])
    axes.grid(visible=False)


def _scores(evaluation: Evaluation, axes: Axes, theme: Theme) -> None:
    parts = [evaluation.scores[evaluation.spam == label] for label in (0, 1)]
    colors = [theme.ham, theme.spam]
    axes.hist(parts, bins=20, range=(0, 1), color=colors, label=["ham", "spam"])
    axes.axvline(evaluation.threshold, color=theme.ink, linestyle="--", linewidth=1)
    axes.set(xlabel="score", ylabel="messages", yscale="log")
    axes.legend(loc="upper center")
