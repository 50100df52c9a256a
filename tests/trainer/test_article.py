"""The ``article`` recipe learns, step by step, what a plain implementation of the article does."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.model import ModelConfig
from filterd.tokenizer import Tokenizer
from tests.bench.article.case import Case, Method, apart
from tests.bench.article.ours import learn_ours
from tests.bench.article.plain import PlainLoop
from trainer import recipe
from trainer.dataset import Message

TOLERANCE = 1e-4
FASTER = Method(epochs=2, learning_rate=5e-3, every=2, looked_at=2)
"""Higher rate and more looks: what differs shows in few steps, and looks move the generator."""


@pytest.fixture(scope="module")
def case(small: list[Message]) -> Case:
    """Forty messages to learn from, ham and spam in turn, and a model of two small blocks."""
    ham, spam = ([m for m in small if m.label == label] for label in ("ham", "spam"))
    turns = [message for pair in zip(ham, spam, strict=False) for message in pair]
    tokenizer = Tokenizer({bytes([byte]): byte for byte in range(256)})
    config = ModelConfig(tokenizer.vocab_size, n_positions=64, n_layer=2, n_head=2, n_embd=32)
    length = max(len(tokenizer.encode(message.text)) for message in turns[:43])
    return Case(turns[:43], turns[43:60], tokenizer, config, length, FASTER)


def test_the_recipe_learns_as_the_plain_loop_does(case: Case, tmp_path: Path) -> None:
    faster = ["learning_rate=0.005", "evaluate_every=2", "evaluate_batches=2"]
    said: list[str] = []
    plain = PlainLoop(case, case.weights(), said.append).run()
    ours = learn_ours(case, case.weights(), tmp_path, said.append, faster)
    assert len(plain.losses) == 2 * case.steps == 10  # the last three messages are dropped
    assert max(plain.losses) - min(plain.losses) > 100 * TOLERANCE
    assert apart(ours.losses, plain.losses) < TOLERANCE
    assert len(plain.looks) == 7  # five between steps, two behind epochs
    for our_look, plain_look in zip(ours.looks, plain.looks, strict=True):
        assert apart(our_look, plain_look) < TOLERANCE


def test_the_recipes_numbers_are_the_articles() -> None:
    own, method = recipe.load("article"), Method()
    assert (own.epochs, own.batch_size, own.seed) == (
        method.epochs,
        method.batch_size,
        method.seed,
    )
    assert (own.learning_rate, own.weight_decay) == (method.learning_rate, method.weight_decay)
    assert (own.evaluate_every, own.evaluate_batches) == (method.every, method.looked_at)
