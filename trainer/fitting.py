"""One recipe, one start, one set of messages: readers over them, runs, out-of-fold scores."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from filterd.linear import TransposedLinear, for_serving
from filterd.model import SpamModel
from trainer import encoding, readers, training
from trainer.backbone import Start, first_trainable
from trainer.calibration import Floats
from trainer.checkpoint import Checkpoint
from trainer.course import Trained
from trainer.dataset import Message
from trainer.distributed import Workers
from trainer.encoding import Encoder, Examples, is_altered
from trainer.folds import stratified
from trainer.losses import log_odds_of
from trainer.readers import FreshReader, Reader, StoredReader
from trainer.recipe import RANDOM, Recipe
from trainer.training import Say

JUDGING = ("folds", "false_positive_rate", "threshold", "temperature")
"""Fields of a recipe that say what is made of scores, and nothing of the weights."""

Lesson = Callable[[list[int], list[int]], Reader]
"""What a fold learns from, given the indices of messages inside it and of those left out."""


@dataclass(frozen=True)
class Fitting:
    """What all runs of one training share.

    length: tokens that a message is padded or cut to · folder: for features and checkpoints.
    """

    recipe: Recipe
    start: Start
    length: int
    folder: Path
    workers: Workers
    say: Say

    def reader(
        self, examples: Examples, *, plain: bool = False, groups: Sequence[int] | None = None
    ) -> Reader:
        """A reader of examples: altered as the recipe says, or plain, as serving reads them.

        groups: the fold of each, where some are to be picked: of two folds none are joined.
        """
        encoder = Encoder(self.recipe, self.start.tokenizer, self.length)
        stop = first_trainable(self.recipe, self.start.config)
        if not stop:
            return FreshReader(encoder, examples, self.recipe.seed, plain=plain)
        views = [encoder.plain(examples)]
        if is_altered(self.recipe) and not plain:
            rng = random.Random(self.recipe.seed)  # noqa: S311 - reproducible, not secret
            views += [encoder.altered(examples, rng, groups) for _ in range(1, self.recipe.views)]
        return self._stored(stop, views)

    def fit(self, name: str, reader: Reader, validation: Reader | None) -> Trained:
        """One run; ``name`` tells it from the others in this folder."""
        key = self._key(reader, validation)
        checkpoint = Checkpoint(self.folder / f"{name}-{key}.pt")
        return training.fit(
            self.recipe,
            self.start,
            (reader, validation),
            self.say,
            workers=self.workers,
            checkpoint=checkpoint,
        )

    def log_odds(self, trained: Trained, reader: Reader) -> Floats:
        """Spam's logit above ham's for each plain message of a reader, (B,)."""
        first = first_trainable(self.recipe, self.start.config)
        return log_odds_of(self.model(trained), first, reader)

    def model(self, trained: Trained) -> SpamModel:
        """The whole model with a run's weights."""
        model = self.start.build(self.recipe).eval()
        model.load_state_dict(trained.weights, strict=False)
        return model

    def out_of_fold(
        self, messages: Sequence[Message], plain: Reader, lesson: Lesson, folds: int
    ) -> Floats:
        """Log-odds of each message, (B,), from a run that never saw it.

        plain: the messages as serving reads them · lesson: what a fold learns from. A fold has no
        validation split to choose an epoch by: its last is kept.
        """
        last = self.with_recipe(self.recipe.model_copy(update={"keep": "last"}))
        found = np.empty(len(messages))
        for number, (inside, outside) in enumerate(split(messages, folds, self.recipe.seed)):
            self.say(f"fold {number + 1} of {folds}")
            trained = last.fit(f"fold-{number + 1}", lesson(inside, outside), None)
            found[outside] = last.log_odds(trained, plain.pick(outside))
        return found

    def with_recipe(self, recipe: Recipe) -> Fitting:
        """The same for another recipe."""
        return Fitting(recipe, self.start, self.length, self.folder, self.workers, self.say)

    def _stored(self, stop: int, views: Sequence[encoding.View]) -> StoredReader:
        model = self.start.build(self.recipe).eval()
        if self.start.device.type == "cpu":
            for_serving(model.blocks, TransposedLinear)
        frozen = self.start.digest()
        if self.recipe.backbone == RANDOM:
            frozen += f" {self.recipe.seed}"
        if self.start.device.type != "cpu":  # products in TF32
            frozen += f" {self.start.device.type}"
        store = (self.folder, frozen)
        return readers.stored(model, stop, views, store, self.workers)

    def _key(self, reader: Reader, validation: Reader | None) -> str:
        """Stands for all that decides a run's outcome."""
        views = [reader.view(epoch) for epoch in range(self.recipe.views)]
        views += [validation.view(0)] if validation else []
        seen = [
            (view.ids, view.targets.tolist(), view.weights.tolist(), _digest(view.hints))
            for view in views
        ]
        recipe = self.recipe.model_dump(exclude=set(JUDGING))
        parts = (recipe, self.start.digest(), self.length, seen)
        device = self.start.device.type
        known = f"{parts} {torch.__version__} {torch.get_num_threads()} {device}"
        return hashlib.sha256(known.encode()).hexdigest()[:20]


def _digest(hints: Tensor | None) -> str:
    return "" if hints is None else hashlib.sha256(hints.numpy().tobytes()).hexdigest()


def split(messages: Sequence[Message], folds: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """For each fold the indices of the messages to learn from, and of those left out."""
    numbers = stratified(messages, folds, seed)
    return [
        (
            [index for index, number in enumerate(numbers) if number != fold],
            [index for index, number in enumerate(numbers) if number == fold],
        )
        for fold in range(folds)
    ]
