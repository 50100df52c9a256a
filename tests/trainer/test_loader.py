"""Every example once an epoch, in batches of near lengths."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from filterd.errors import DataError
from tests.trainer.runs import tiny
from trainer.loader import Batches, batches

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


def test_an_epochs_batches_depend_on_seed_and_number_alone() -> None:
    lengths = [index % 20 + 1 for index in range(70)]
    made = Batches(tiny(), 70)
    assert (made.steps, made.examples) == (9, 70)
    epochs = [list(made.of(epoch, lengths)) for epoch in range(3)]
    assert list(Batches(tiny(), 70).of(2, lengths)) == epochs[2]
    assert epochs[0] != epochs[1] != epochs[2]
    assert list(Batches(tiny(seed=1), 70).of(0, lengths)) != epochs[0]


def test_shuffled_batches_are_full_and_torchs() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = Batches(tiny(order="shuffled"), 70)
        assert (made.steps, made.examples) == (8, 64)
        epochs = [list(made.of(epoch, [1] * 70)) for epoch in range(2)]
        torch.manual_seed(3)
        assert list(made.of(5, [1] * 70)) == epochs[0]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [8] * 8
        assert len({index for batch in epoch for index in batch}) == 64
    assert epochs[0] != epochs[1]


def test_shuffled_batches_are_never_none() -> None:
    assert Batches(tiny(), 3).steps == 1
    with pytest.raises(DataError, match="3 messages in a run, fewer than a batch of 8"):
        Batches(tiny(order="shuffled"), 3)


def test_a_look_is_at_a_few_batches() -> None:
    examples = range(20)
    assert [list(part) for part in Batches(tiny(), 20).first(2, examples, shuffled=True)] == [
        list(range(8)),
        list(range(8, 16)),
    ]
    parts = Batches(tiny(), 20).first(9, examples, shuffled=False)
    assert [len(part) for part in parts] == [8, 8, 4]
    mixed = Batches(tiny(order="shuffled"), 20)
    assert [list(part) for part in mixed.first(2, examples, shuffled=False)] == [
        list(range(8)),
        list(range(8, 16)),
    ]
    drawn = [list(part) for part in mixed.first(5, examples, shuffled=True)]
    assert [len(part) for part in drawn] == [8, 8]
    assert sorted(drawn[0] + drawn[1]) != list(range(16))
