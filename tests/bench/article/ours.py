"""Our side: the ``article`` recipe, its looks in the order of the plain side's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from tests.bench.article.case import Case, Course
from trainer import make, recipe
from trainer.backbone import Start
from trainer.distributed import Workers
from trainer.fitting import Fitting
from trainer.training import Look

Say = Callable[[str], None]


def learn_ours(
    case: Case,
    weights: dict[str, Tensor],
    folder: Path,
    say: Say,
    overrides: Sequence[str] = (),
) -> Course:
    """The ``article`` recipe, with features and checkpoints in ``folder``."""
    own = recipe.load("article", [f"epochs={case.method.epochs}", *overrides])
    length = own.max_length or case.length
    started = time.perf_counter()
    start = Start(case.config, case.tokenizer, weights)
    fitting = Fitting(own, start, length, folder, Workers(), say)
    learned = fitting.reader(make.labelled(case.learned))
    checked = fitting.reader(make.labelled(case.checked), plain=True)
    features_s = time.perf_counter() - started
    say(f"features after {features_s:.1f} s")
    trained = fitting.fit("run", learned, checked)
    return Course(list(trained.step_losses), _as_plain(trained.looks, case), features_s)


def _as_plain(looks: Sequence[Look], case: Case) -> list[tuple[float, float]]:
    """Our looks as the plain side takes them: losses, but accuracies behind an epoch.

    Each epoch's last look is that one; the others are at steps.
    """
    found, left = [], list(looks)
    while left:
        look = left.pop(0)
        ends = look.step % case.steps == 0 and (not left or left[0].step > look.step)
        one = (look.train_accuracy, look.validation_accuracy)
        found.append(one if ends else (look.train_loss, look.validation_loss))
    return found


def overrides(case: Case, pooling: str) -> list[str]:
    """What the recipe needs for a pooling; ``last`` reads whole messages and the end of text."""
    return (
        [] if pooling == "padded-last" else [f"pooling={pooling}", f"max_length={case.length + 1}"]
    )
