"""``trainer distill``: a small model learns what a large one thinks of every text at hand.

The student's target is the teacher's calibrated score (Hinton et al., 2015), mixed with the label
where there is one; an altered text keeps its target, so the student also learns that the alteration
does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from filterd import artifact as artifacts
from filterd.artifact import Artifact
from filterd.errors import DataError
from trainer import calibration, encoding, hints, make, registry
from trainer.calibration import Floats
from trainer.course import Trained
from trainer.dataset import Message, read_texts
from trainer.distributed import ALONE, Workers
from trainer.encoding import Examples
from trainer.fitting import Fitting
from trainer.folds import stratified
from trainer.make import Place, Unseen
from trainer.material import Material, gather
from trainer.opinions import opinions
from trainer.readers import Reader
from trainer.recipe import Recipe, of_artifact
from trainer.sentences import Sentences
from trainer.splitting import fold
from trainer.training import Say


@dataclass(frozen=True, slots=True)
class Sources:
    """What a student learns from.

    data: a prepared folder · extra: files of labelled messages · texts: files of which only the
    texts count · unseen: files of labelled messages that set temperature and threshold alone.
    """

    data: Path
    extra: Sequence[Path] = ()
    texts: Sequence[Path] = ()
    unseen: Sequence[Path] = ()


def distill(
    recipe: Recipe,
    teacher: Path,
    sources: Sources,
    place: Place,
    say: Say,
    workers: Workers = ALONE,
) -> tuple[Path, Artifact]:
    """Train a student on a teacher's scores; returns where its artifact stands, and itself.

    Temperature and threshold come from out-of-fold scores: for each fold the teacher's recipe is
    trained anew without it, and a student on that teacher's scores. Raises as ``make`` does.
    """
    if place.output is not None:
        registry.check_free(place.output)
    material = gather(recipe, sources.data, sources.extra, sources.unseen)
    make.check_rate(recipe, material)
    parts, labelled = material.parts, material.learned
    held_out = [*parts["validation"], *parts["test"], *material.unseen]
    counts = unlabelled(sources.texts, [*labelled, *held_out])
    texts = [text for found in counts.values() for text in found]
    say(f"{len(labelled):,} labelled messages, {len(texts):,} more texts")
    loaded, hinting = artifacts.load(teacher), make.hinted_by(recipe, say)
    everything = [*(message.text for message in labelled), *texts]
    known = make.examples(material.base, material, recipe)
    said = _said(recipe, loaded, (known.texts, texts), place, workers)
    examples = soft(recipe, known, texts, said)
    if recipe.hint_weight:
        examples = replace(
            examples, hints=_hints(hinting, loaded, everything, (place.work, workers))
        )
    fitting = make.begin(recipe, everything, place.work, workers, say)
    trained = make.train(fitting, examples, parts["validation"])
    unseen = _unseen(fitting, (loaded, hinting), material, texts, trained)
    unseen += make.asked(fitting, trained, material.unseen)
    artifact = registry.draft(fitting, trained, *make.settle(recipe, unseen))
    if not workers.leads:
        return place.of(artifact.manifest.version), artifact
    heard = {name: len(found) for name, found in counts.items()}
    more = {"teacher": loaded.manifest.version, "texts": heard, **make.said_of(hinting)}
    return make.write(artifact, trained, material, unseen, place, more)


def _hints(
    hinting: Sentences | None,
    teacher: Artifact,
    texts: Sequence[str],
    where: tuple[Path, Workers],
) -> Tensor:
    """Hints of texts, (T, K), by a model of sentences where there is one, else by the teacher."""
    if hinting is not None:
        return hints.of_sentences(hinting, texts, *where)
    return hints.of_teacher(teacher, texts, *where)


def _unseen(
    fitting: Fitting,
    larger: tuple[Artifact, Sentences | None],
    material: Material,
    texts: Sequence[str],
    trained: Trained,
) -> Unseen:
    """What students say of messages that neither they nor their teachers have seen."""
    recipe, validation = fitting.recipe, material.parts["validation"]
    if not recipe.folds:
        return make.asked(fitting, trained, validation)
    pool = [*material.base, *validation]
    return Unseen(pool, crossed(fitting, larger, pool, (material, texts), recipe.folds))


def _said(
    recipe: Recipe,
    teacher: Artifact,
    texts: tuple[Sequence[str], Sequence[str]],
    place: Place,
    workers: Workers,
) -> Floats:
    """The teacher's scores of labelled and other texts, (B + T,); of what has no weight, zeros."""
    labelled, others = texts
    wanted = [*labelled, *others] if recipe.teacher_weight else list(others)
    scores = opinions(teacher, wanted, place.work, workers)
    return scores if recipe.teacher_weight else np.concatenate((np.zeros(len(labelled)), scores))


def soft(recipe: Recipe, known: Examples, texts: Sequence[str], said: Floats) -> Examples:
    """Examples whose targets are the teacher's scores (B + T,), with the B labels mixed in."""
    targets, share = said.copy(), recipe.teacher_weight
    labels = known.targets.numpy()
    targets[: len(known)] = share * said[: len(known)] + (1 - share) * labels
    weights = known.weights.tolist() + [1.0] * len(texts)
    kept = [*known.kept, *[False] * len(texts)] if known.kept else ()
    return encoding.of([*known.texts, *texts], targets.tolist(), weights, kept)


def crossed(
    student: Fitting,
    larger: tuple[Artifact, Sentences | None],
    pool: Sequence[Message],
    beside: tuple[Material, Sequence[str]],
    folds: int,
) -> Floats:
    """Log-odds of each message of a pool, (B,), from a student whose teacher did not see it either.

    larger: the teacher, and the model of sentences that gives hints instead of it · beside: what
    adds labelled messages, and texts, that every fold learns from too.
    """
    (teacher, hinting), (material, texts) = larger, beside
    more = material.more
    known = [*pool, *more]
    everything = [*(message.text for message in known), *texts]
    master = _teachers_fitting(teacher, known, student)
    groups = [*stratified(pool, folds, student.recipe.seed), *[folds] * len(more)]
    taught_by = make.hinted_by(master.recipe, student.say)
    mastered = make.hinted(make.examples(pool, material, master.recipe), taught_by, master)
    reader = master.reader(mastered, groups=groups)
    examples = make.examples(pool, material, student.recipe)
    asked = master.reader(encoding.of(everything, [0.0] * len(everything)), plain=True)
    middle = None
    if student.recipe.hint_weight:
        middle = _hints(hinting, teacher, everything, (student.folder, student.workers))

    def lesson(inside: list[int], _: list[int]) -> Reader:
        learned = [*inside, *range(len(pool), len(known))]
        taught = master.fit("teacher", reader.pick(learned), None)
        log_odds = master.log_odds(taught, asked)
        said = calibration.scores(log_odds, teacher.manifest.temperature)
        chosen = [*learned, *range(len(known), len(everything))]
        lessons = soft(student.recipe, examples.pick(learned), texts, said[chosen])
        if middle is not None:
            lessons = replace(lessons, hints=middle[chosen])
        return student.reader(lessons)

    plain = student.reader(make.labelled(pool), plain=True)
    return student.out_of_fold(pool, plain, lesson, folds)


def _teachers_fitting(teacher: Artifact, pool: Sequence[Message], student: Fitting) -> Fitting:
    """The teacher's own recipe over these messages, keeping the last epoch."""
    recipe = of_artifact(teacher.manifest).model_copy(update={"keep": "last"})
    texts = [message.text for message in pool]
    return make.begin(recipe, texts, student.folder, student.workers, student.say)


def unlabelled(files: Iterable[Path], known: Sequence[Message]) -> dict[str, list[str]]:
    """The distinct texts of files by the files' names, without those that are known already."""
    seen = {fold(message.text) for message in known}
    texts: dict[str, list[str]] = {}
    for path in files:
        for text in read_texts(path):
            if fold(text) not in seen:
                seen.add(fold(text))
                texts.setdefault(path.name, []).append(text)
    if files and not texts:
        raise DataError("the files of texts hold nothing that is not in the data already")
    return texts
