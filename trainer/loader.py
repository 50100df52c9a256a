"""Batches of near lengths, shuffled anew every epoch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

POOL_BATCHES = 8
"""Batches' worth of shuffled examples that are sorted by length among themselves: enough to keep
padding in attention low, few enough that an epoch's batches differ from the last one's."""


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
