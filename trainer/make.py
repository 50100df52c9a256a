"""``trainer train`` and ``trainer distill``: prepared data and a recipe become an artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from filterd.artifact import Artifact
from filterd.errors import DataError
from trainer import (
    backbone,
    baseline,
    calibration,
    coarse,
    encoding,
    hints,
    registry,
    report,
    sentences,
)
from trainer.calibration import Floats
from trainer.card import model_card, notice
from trainer.course import Trained
from trainer.dataset import Message
from trainer.distributed import ALONE, Workers
from trainer.encoding import Examples
from trainer.evaluation import evaluate, judge, truth
from trainer.fitting import Fitting
from trainer.folds import stratified
from trainer.material import Material, gather
from trainer.recipe import Recipe
from trainer.sentences import Sentences
from trainer.training import Say

ARTIFACTS = Path("artifacts")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an artifact goes, and what an interrupted run leaves to be gone on with.

    output: the artifact's folder; ``VERSION`` among all artifacts where None · work: folder for
    features and checkpoints.
    """

    output: Path | None
    work: Path
    artifacts: Path = ARTIFACTS

    @classmethod
    def among(cls, artifacts: Path, output: Path | None) -> Place:
        """With features and checkpoints beside all artifacts, where ``trainer prune`` looks."""
        return cls(output, artifacts / registry.WORK, artifacts)

    def of(self, version: str) -> Path:
        """Where the artifact of that version goes."""
        return self.output or self.artifacts / version


def make(
    recipe: Recipe,
    data: Path,
    place: Place,
    say: Say,
    *,
    extra: Sequence[Path] = (),
    unseen: Sequence[Path] = (),
    workers: Workers = ALONE,
) -> tuple[Path, Artifact]:
    """Train, calibrate, measure and write; returns where the artifact stands, and itself.

    extra: files of labelled messages to learn from too · unseen: files of those that set
    temperature and threshold beside the folds or validation. Raises DataError for data that is
    not there or bad, ArtifactError where the output exists.
    """
    if place.output is not None:
        registry.check_free(place.output)
    material = gather(recipe, data, extra, unseen)
    check_rate(recipe, material)
    learned = material.learned
    say(_counted(material))
    texts = [message.text for message in learned]
    fitting = begin(recipe, texts, place.work, workers, say)
    hinting = hinted_by(recipe, say)
    if recipe.hint_weight and hinting is None:
        say("hint_weight does nothing here: no teacher, and the recipe names no hints")
    pool = Pool(fitting, material, hinting)
    trained = pool.train()
    judged = pool.unseen(trained)
    judged += asked(fitting, trained, material.unseen)
    artifact = registry.draft(fitting, trained, *settle(recipe, judged))
    if not workers.leads:
        return place.of(artifact.manifest.version), artifact
    return write(artifact, trained, material, judged, place, said_of(hinting))


def hinted_by(recipe: Recipe, say: Say) -> Sentences | None:
    """The model of sentences that a recipe wants hints of. Raises as ``sentences.load`` does."""
    return sentences.load(recipe.hints, say) if recipe.hints and recipe.hint_weight else None


def hinted(examples: Examples, hinting: Sentences | None, fitting: Fitting) -> Examples:
    """Examples with the hints of a model of sentences, where there is one."""
    if hinting is None:
        return examples
    given = hints.of_sentences(hinting, examples.texts, fitting.folder, fitting.workers)
    return replace(examples, hints=given)


def said_of(hinting: Sentences | None) -> dict[str, Any]:
    """What the manifest says of the model that gave hints."""
    return {} if hinting is None else {"hints": hinting.origin}


def _counted(material: Material) -> str:
    """How many messages are learned, and from where where that is not the prepared folder alone."""
    parts = [(material.folder.name, len(material.base)), *material.added.items()]
    whole = f"{len(material.learned):,} messages to learn from"
    if not material.more:
        return whole
    return f"{whole}: " + ", ".join(f"{count:,} of {name}" for name, count in parts if count)


def check_rate(recipe: Recipe, material: Material) -> None:
    """Raises before the training what ``settle`` would raise behind it: too little ham."""
    if recipe.threshold is None:
        judged = [*material.parts["validation"], *material.unseen]
        judged += material.base if recipe.folds else []
        ham = sum(message.label == "ham" for message in judged)
        calibration.check_rate(ham, recipe.false_positive_rate)


def begin(recipe: Recipe, texts: Sequence[str], work: Path, workers: Workers, say: Say) -> Fitting:
    """Find the backbone and settle how long messages are. Raises DataError for too few of them."""
    if len(texts) < recipe.batch_size:
        raise DataError(
            f"{len(texts)} messages to learn from, fewer than a batch of {recipe.batch_size}: "
            f"bring more, or --set batch_size={max(1, len(texts) // 4)}"
        )
    start = replace(backbone.prepare(recipe, texts, say), device=workers.device)
    longest = encoding.longest(texts, recipe, start.tokenizer)
    length = recipe.max_length or min(longest, start.config.n_positions)
    return Fitting(recipe, start, length, work, workers, say)


def train(fitting: Fitting, examples: Examples, validation: Sequence[Message]) -> Trained:
    """One run on all examples; validation chooses the epoch."""
    checked = fitting.reader(labelled(validation), plain=True)
    return fitting.fit("run", fitting.reader(examples), checked)


@dataclass(frozen=True, slots=True)
class Unseen:
    """Messages and their log-odds, (B,), each from a run that has not seen it."""

    messages: Sequence[Message]
    log_odds: Floats

    def __add__(self, other: Unseen) -> Unseen:
        """Both, one after the other."""
        log_odds = np.concatenate((self.log_odds, other.log_odds))
        return Unseen([*self.messages, *other.messages], log_odds)


def asked(fitting: Fitting, trained: Trained, messages: Sequence[Message]) -> Unseen:
    """What a run says of messages that it has not seen, of none too."""
    if not messages:
        return Unseen([], np.empty(0))
    return Unseen(
        messages, fitting.log_odds(trained, fitting.reader(labelled(messages), plain=True))
    )


class Pool:
    """The messages of a training in one reader, so that frozen blocks see each of them once.

    First the prepared ones, training's and validation's, then what is added.
    """

    def __init__(
        self, fitting: Fitting, material: Material, hinting: Sentences | None = None
    ) -> None:
        self.fitting = fitting
        recipe, folds = fitting.recipe, fitting.recipe.folds
        self.prepared = [*material.base, *material.parts["validation"]]
        messages = [*self.prepared, *material.more]
        base, rest = len(material.base), len(messages) - len(material.base)
        groups = [0] * base + [1] * rest
        if folds:
            numbers = stratified(self.prepared, folds, recipe.seed)
            groups = [2 * n + group for n, group in zip(numbers, groups, strict=False)]
        groups[len(self.prepared) :] = [-1] * len(material.more)
        learned = hinted(examples(self.prepared, material, recipe), hinting, fitting)
        self.reader = fitting.reader(learned, groups=groups)
        self.plain = fitting.reader(learned, plain=True)
        self.base = range(base)
        self.validation = range(base, len(self.prepared))
        self.more = range(len(self.prepared), len(messages))

    def train(self) -> Trained:
        """One run; validation chooses the epoch."""
        learned = self.reader.pick([*self.base, *self.more])
        return self.fitting.fit("run", learned, self.plain.pick(self.validation))

    def unseen(self, trained: Trained) -> Unseen:
        """What runs say of prepared messages that they have not seen.

        Of all of them where there are folds, else of validation's by the run given. What is added
        is learned in every fold: the threshold is for messages such as the prepared ones.
        """
        folds = self.fitting.recipe.folds
        if folds:
            log_odds = self.fitting.out_of_fold(
                self.prepared,
                self.plain,
                lambda inside, _: self.reader.pick([*inside, *self.more]),
                folds,
            )
            return Unseen(self.prepared, log_odds)
        log_odds = self.fitting.log_odds(trained, self.plain.pick(self.validation))
        return Unseen([self.prepared[place] for place in self.validation], log_odds)


def settle(recipe: Recipe, unseen: Unseen) -> tuple[float, float]:
    """Temperature and threshold from what runs say of messages that they have not seen."""
    log_odds, spam = unseen.log_odds, truth(unseen.messages)
    temperature = recipe.temperature or round(calibration.fit_temperature(log_odds, spam), 4)
    if recipe.threshold is not None:
        return temperature, recipe.threshold
    scores = calibration.scores(log_odds, temperature)
    return temperature, calibration.threshold_for(scores, spam, recipe.false_positive_rate)


def examples(pool: Sequence[Message], material: Material, recipe: Recipe) -> Examples:
    """Messages of a prepared folder and what is added to them, as a recipe wants both learned."""
    more = material.more
    weights = [recipe.base_weight] * len(pool) + [1.0] * len(more)
    kept = [False] * len(pool) + material.kept(recipe)
    return labelled([*pool, *more], weights, kept)


def labelled(
    messages: Sequence[Message],
    weights: Sequence[float] | None = None,
    kept: Sequence[bool] = (),
) -> Examples:
    """Messages as examples whose targets are their labels."""
    texts = [message.text for message in messages]
    return encoding.of(texts, truth(messages).tolist(), weights, kept)


def write(
    artifact: Artifact,
    trained: Trained,
    material: Material,
    unseen: Unseen,
    place: Place,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Path, Artifact]:
    """Measure, and write with card and report; returns where the artifact stands, and itself.

    unseen: begins with the prepared messages where there are folds · more: what the manifest is to
    say of the data beside what the material says.
    """
    parts, data = material.parts, {**material.describe(), **more}
    found = {name: evaluate(artifact, parts[name]) for name in ("validation", "test")}
    judged = [message.text for name in found for message in parts[name]]
    near = coarse.int8(artifact, judged, np.concatenate([one.scores for one in found.values()]))
    if artifact.manifest.recipe["folds"]:
        count = len(material.base) + len(parts["validation"])
        scores = calibration.scores(unseen.log_odds[:count], artifact.manifest.temperature)
        found["folds"] = judge(scores, truth(unseen.messages[:count]), artifact.manifest.threshold)
    measures = {name: evaluation.measures for name, evaluation in found.items()}
    numbers = {key: v for name, m in measures.items() for key, v in m.named(name).items()}
    artifact = registry.changed(artifact, data=data, metrics=numbers, int8=near)
    rival = baseline.fit(parts["train"]).judge(parts["test"])
    pages = {f"report/{name}": page for name, page in report.files(trained, found, rival).items()}
    pages["README.md"] = model_card(artifact, trained, data, measures).encode()
    if credit := notice(artifact.manifest):
        pages["NOTICE"] = credit.encode()
    target = place.of(artifact.manifest.version)
    registry.write(artifact, pages, target)
    return target, artifact
