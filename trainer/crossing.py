"""``trainer evaluate --folds``: an artifact's recipe cross-validated on prepared data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from filterd import artifact as artifacts
from filterd.artifact import Manifest
from filterd.errors import SettingsError
from trainer import baseline, calibration, distillation, make
from trainer.calibration import Floats
from trainer.dataset import Message
from trainer.distillation import Sources
from trainer.distributed import ALONE, Workers
from trainer.evaluation import Evaluation, judge, truth
from trainer.fitting import Fitting, split
from trainer.folds import stratified
from trainer.material import Material, gather
from trainer.recipe import of_artifact
from trainer.sentences import Sentences
from trainer.training import Say


@dataclass(frozen=True, slots=True)
class Crossed:
    """Measures over all folds pooled: of the recipe, and of the baseline in the same folds."""

    model: str
    folds: int
    evaluation: Evaluation
    baseline: Evaluation


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Messages of a prepared folder, and an artifact's scores (N,) of them, each from a run of its
    recipe that had not seen the message, at the artifact's own temperature."""

    manifest: Manifest
    messages: Sequence[Message]
    scores: Floats


def cross_validate(
    artifact: Path,
    sources: Sources,
    folds: int,
    work: Path,
    say: Say,
    teacher: Path | None = None,
    workers: Workers = ALONE,
) -> Crossed:
    """Train an artifact's recipe anew in folds, and judge its scores at its own threshold."""
    found = out_of_fold(artifact, sources, folds, work, say, teacher, workers)
    manifest, pool = found.manifest, found.messages
    judged = judge(found.scores, truth(pool), manifest.threshold)
    seed = of_artifact(manifest).seed
    return Crossed(manifest.version, folds, judged, _baseline(pool, folds, seed))


def out_of_fold(
    artifact: Path,
    sources: Sources,
    folds: int,
    work: Path,
    say: Say,
    teacher: Path | None = None,
    workers: Workers = ALONE,
) -> OutOfFold:
    """Train an artifact's recipe anew in folds of all three splits of a prepared folder.

    What the recipe and the user add is learned in every fold and measured in none. teacher: of a
    distilled artifact, so that each fold has a teacher that did not see what is measured either.
    """
    loaded = artifacts.load(artifact)
    manifest = loaded.manifest
    recipe = of_artifact(manifest)
    if manifest.cascade is not None:
        raise SettingsError(
            f"{manifest.version} is a cascade, which no recipe makes: evaluate its parts in folds"
        )
    if recipe.undersample:
        raise SettingsError(f"{manifest.version} is of some of the messages: it has no folds")
    if ("teacher" in manifest.data) != (teacher is not None):
        raise SettingsError(
            f"{manifest.version} was {'distilled: give' if teacher is None else 'trained without'} "
            "--teacher"
        )
    material = gather(recipe, sources.data, sources.extra)
    pool = [message for part in material.parts.values() for message in part]
    found = distillation.unlabelled(sources.texts, [*pool, *material.more])
    texts = [text for part in found.values() for text in part]
    everything = [*(message.text for message in [*pool, *material.more]), *texts]
    fitting = make.begin(recipe, everything, work, workers, say)
    hinting = make.hinted_by(recipe, say)
    if teacher is None:
        log_odds = _crossed(fitting, hinting, pool, material, folds)
    else:
        larger = artifacts.load(teacher), hinting
        log_odds = distillation.crossed(fitting, larger, pool, (material, texts), folds)
    return OutOfFold(manifest, pool, calibration.scores(log_odds, manifest.temperature))


def _crossed(
    fitting: Fitting,
    hinting: Sentences | None,
    pool: Sequence[Message],
    material: Material,
    folds: int,
) -> Floats:
    more = material.more
    examples = make.hinted(make.examples(pool, material, fitting.recipe), hinting, fitting)
    groups = [*stratified(pool, folds, fitting.recipe.seed), *[folds] * len(more)]
    reader = fitting.reader(examples, groups=groups)
    plain = fitting.reader(examples, plain=True)
    always = range(len(pool), len(pool) + len(more))
    return fitting.out_of_fold(
        pool, plain, lambda inside, _: reader.pick([*inside, *always]), folds
    )


def _baseline(pool: Sequence[Message], folds: int, seed: int) -> Evaluation:
    scores = np.empty(len(pool))
    threshold = 0.5
    for inside, outside in split(pool, folds, seed):
        rival = baseline.fit([pool[index] for index in inside])
        scores[outside] = rival.score([pool[index] for index in outside])
        threshold = rival.threshold
    return judge(scores, truth(pool), threshold)
