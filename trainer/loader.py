"""Batches: of near lengths, shuffled anew every epoch, or as the article's loader makes them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from torch.utils.data import DataLoader

from filterd.errors import DataError
from trainer.recipe import Recipe

POOL_BATCHES = 8
"""Batches' worth of shuffled examples that are sorted by length among themselves: enough to keep
padding in attention low, few enough that an epoch's batches differ from the last one's."""


class Batches:
    """Which examples are learned together, and when, over a run of one recipe.

    steps: batches of an epoch · examples: messages of an epoch.
    """

    def __init__(self, recipe: Recipe, count: int) -> None:
        self._recipe = recipe
        size = recipe.batch_size
        self._whole = recipe.order == "length"
        self.steps = -(-count // size) if self._whole else count // size
        self.examples = count if self._whole else self.steps * size
        if not self.steps:
            raise DataError(
                f"{count} messages in a run, fewer than a batch of {size}: bring more, or "
                f"--set batch_size={max(1, count // 4)}"
            )
        # The article's own loader, drawing from torch's generator at the article's moments.
        self._shuffled: DataLoader[int] = DataLoader(
            range(count),  # type: ignore[arg-type]
            batch_size=size,
            shuffle=True,
            drop_last=True,
            collate_fn=list,
        )

    def of(self, epoch: int, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices of each batch of an epoch, from 0; ``lengths``: tokens of each example."""
        if not self._whole:
            return iter(self._shuffled)
        rng = random.Random(f"{self._recipe.seed} {epoch}")  # noqa: S311 - reproducible, not secret
        return batches(lengths, self._recipe.batch_size, rng)

    def first(
        self, most: int, examples: Sequence[object], *, shuffled: bool
    ) -> list[Sequence[int]]:
        """A few batches to look at: of the training split shuffled, of another in its order."""
        size = self._recipe.batch_size
        if not self._whole:
            # Also a loader that keeps the order draws from torch's generator, once a pass: without
            # that draw the next epochs' batches would not be the article's.
            ordered: DataLoader[int] = DataLoader(
                range(len(examples)),  # type: ignore[arg-type]
                batch_size=size,
                collate_fn=list,
            )
            return list(islice(iter(self._shuffled if shuffled else ordered), most))
        starts = range(0, min(len(examples), most * size), size)
        return [range(at, min(at + size, len(examples))) for at in starts]


def batches(lengths: Sequence[int], batch_size: int, rng: random.Random) -> Iterator[list[int]]:
    """Indices of one epoch's batches: every example once, near lengths together.

    lengths: tokens of each example · rng: its state decides the order, and moves on.
    """
    order = list(range(len(lengths)))
    rng.shuffle(order)
    pool = batch_size * POOL_BATCHES
    cut = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=lambda index: lengths[index])
        cut += [near[first : first + batch_size] for first in range(0, len(near), batch_size)]
    rng.shuffle(cut)
    yield from cut
