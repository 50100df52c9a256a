"""Every example once an epoch, in batches of near lengths."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from trainer.loader import batches

LENGTHS = st.lists(st.integers(1, 300), max_size=200)


@given(LENGTHS, st.integers(1, 40), st.integers(0, 99))
def test_every_example_once(lengths: list[int], batch_size: int, seed: int) -> None:
    found = list(batches(lengths, batch_size, random.Random(seed)))
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    assert all(0 < len(batch) <= batch_size for batch in found)
    assert len(found) == -(-len(lengths) // batch_size)


def test_the_seed_decides_and_epochs_differ() -> None:
    lengths = [index % 50 + 1 for index in range(400)]
    first, second = random.Random(1), random.Random(1)
    epoch = list(batches(lengths, 16, first))
    assert epoch == list(batches(lengths, 16, second))
    assert epoch != list(batches(lengths, 16, first))


def test_near_lengths_go_together() -> None:
    rng = random.Random(3)
    lengths = [rng.randint(1, 200) for _ in range(1000)]

    def padding(cut: list[list[int]]) -> int:
        return sum(
            len(batch) * max(lengths[i] for i in batch) - sum(lengths[i] for i in batch)
            for batch in cut
        )

    shuffled = rng.sample(range(1000), 1000)
    plain = [shuffled[start : start + 20] for start in range(0, 1000, 20)]
    assert padding(list(batches(lengths, 20, rng))) < padding(plain) / 3
