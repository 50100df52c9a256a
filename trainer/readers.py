"""Readers: what the trainable part of a model gets to see of its examples, epoch by epoch."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from filterd.model import SpamModel
from filterd.packing import Packed, pack, padding_on
from trainer.distributed import Workers
from trainer.encoding import Encoder, Examples, View, is_altered
from trainer.features import Features, compute


class Reader(Protocol):
    """Examples in one view an epoch, and batches of them as the model's first trainable block
    reads them."""

    def view(self, epoch: int) -> View:
        """The examples as they are in an epoch, from 0."""

    def batch(self, model: SpamModel, epoch: int, indices: Sequence[int]) -> tuple[Tensor, Packed]:
        """Hidden states, (N, C) or (B, C), and the batch they belong to."""

    def pick(self, indices: Sequence[int]) -> Reader:
        """A reader of some of the examples."""


class FreshReader:
    """Nothing is frozen but, at most, the embedding: every epoch has its own view."""

    def __init__(self, encoder: Encoder, examples: Examples, seed: int, *, plain: bool) -> None:
        self._encoder, self._examples, self._seed = encoder, examples, seed
        self._plain = plain or not is_altered(encoder.recipe)
        self._made: tuple[int, View] | None = None

    def view(self, epoch: int) -> View:
        """The view is a function of seed and epoch alone, so that a run can be resumed."""
        epoch = 0 if self._plain else epoch
        if self._made is None or self._made[0] != epoch:
            self._made = (epoch, self._make(epoch))
        return self._made[1]

    def batch(self, model: SpamModel, epoch: int, indices: Sequence[int]) -> tuple[Tensor, Packed]:
        """The embedding of a packed batch, (N, C)."""
        ids = self.view(epoch).ids
        device = model.head.weight.device
        packed = pack([ids[index] for index in indices], padding=padding_on(device)).to(device)
        return model.embed(packed), packed

    def pick(self, indices: Sequence[int]) -> FreshReader:
        """A reader of some of the examples."""
        examples = self._examples.pick(indices)
        return FreshReader(self._encoder, examples, self._seed, plain=self._plain)

    def _make(self, epoch: int) -> View:
        if self._plain:
            return self._encoder.plain(self._examples)
        rng = random.Random(f"{self._seed} {epoch}")  # noqa: S311 - reproducible, not secret
        return self._encoder.altered(self._examples, rng)


class StoredReader:
    """Blocks are frozen: as many views as the recipe asks for, their features computed once."""

    def __init__(
        self, views: Sequence[tuple[View, Features]], indices: Sequence[int] | None = None
    ) -> None:
        self._all = views
        self._indices = range(len(views[0][0].ids)) if indices is None else indices
        self._views = [view.pick(self._indices) for view, _ in views]

    def view(self, epoch: int) -> View:
        """The views in turn, the plain one first."""
        return self._views[epoch % len(self._views)]

    def batch(self, model: SpamModel, epoch: int, indices: Sequence[int]) -> tuple[Tensor, Packed]:
        """What the frozen blocks gave for a packed batch, (N, C), or (B, C) behind all blocks."""
        ids = self.view(epoch).ids
        device = model.head.weight.device
        packed = pack([ids[index] for index in indices], padding=padding_on(device))
        features = self._all[epoch % len(self._all)][1]
        hidden = features.packed(packed, [self._indices[index] for index in indices])
        return hidden.to(device), packed.to(device)

    def pick(self, indices: Sequence[int]) -> StoredReader:
        """A reader of some of the examples, over the same features."""
        return StoredReader(self._all, [self._indices[index] for index in indices])


def stored(
    model: SpamModel,
    stop: int,
    views: Sequence[View],
    store: tuple[Path, str],
    workers: Workers,
) -> StoredReader:
    """Compute the features of every view, or take them from the store; of equal spans once.

    store: its folder, and what stands for the frozen weights in the files' names.
    """
    folder, weights = store
    known: dict[tuple[int, ...], np.ndarray] = {}
    made = []
    for number, view in enumerate(views, start=1):
        keys = [tuple(span) for span in view.ids]
        fresh = [list(key) for key in dict.fromkeys(keys) if key not in known]
        if fresh:
            digest = hashlib.sha256(f"{weights} {stop} {fresh}".encode()).hexdigest()[:20]
            title = f"frozen blocks, view {number} of {len(views)}"
            features = compute(model, stop, fresh, folder / f"{digest}.f32", workers, title)
            known.update(zip(map(tuple, fresh), features.spans, strict=True))
        made.append((view, Features([known[key] for key in keys])))
    return StoredReader(made)
