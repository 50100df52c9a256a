"""Training learns, is reproducible, and its pieces are what they claim."""

from __future__ import annotations

import pytest
import torch

from filterd.model import SpamModel
from filterd.tokenizer import Tokenizer
from trainer import recipe as recipes
from trainer import training
from trainer.dataset import Message
from trainer.recipe import Recipe
from trainer.vocabulary import learn

TINY = [
    *("vocab_size=320", "n_layer=2", "n_head=2", "n_embd=16", "n_positions=24"),
    *("epochs=4", "batch_size=4", "learning_rate=5e-3", "dropout=0.0", "average=0.5"),
    *("other_digits=0.5", "other_case=0", "drop_words=0", "cut_words=0.02"),
]


def tiny(*overrides: str) -> Recipe:
    return recipes.load("starter", [*TINY, *overrides])


def run(small: list[Message], recipe: Recipe) -> tuple[training.Trained, list[str]]:
    said: list[str] = []
    tokenizer = learn([message.text for message in small], recipe.vocab_size)
    parts = ([message for message in small if message.row % 3], small[2::3])
    return training.train(recipe, tokenizer, parts, said.append), said


@pytest.mark.parametrize("weight", ["0", "0.5"])
def test_learns_and_tells_how_it_goes(small: list[Message], weight: str) -> None:
    trained, said = run(small, tiny(f"language_weight={weight}"))
    first, *_, last = trained.history
    assert last.train_loss < first.train_loss / 2
    assert trained.history[trained.best - 1].validation_accuracy >= 0.95
    assert [epoch.examples for epoch in trained.history] == [80, 160, 240, 320]
    assert said[0].startswith("epoch 1/4 · 80 examples · train loss ")
    assert said[-1].startswith(f"kept epoch {trained.best}")


def test_the_same_seed_gives_the_same_weights(small: list[Message]) -> None:
    state = torch.get_rng_state()
    first, _ = run(small, tiny("epochs=1"))
    torch.rand(3)
    again, _ = run(small, tiny("epochs=1"))
    other, _ = run(small, tiny("epochs=1", "seed=7"))
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert not torch.equal(first.weights["head.weight"], other.weights["head.weight"])
    torch.set_rng_state(state)


def test_the_language_path_has_the_models_own_logits(small: list[Message]) -> None:
    recipe = tiny("language_weight=1", "dropout=0")
    tokenizer = Tokenizer({bytes([byte]): byte for byte in range(256)})
    inner = training._Run(recipe, tokenizer, (small, small))
    batch = training.pack([[1, 2, 3, 256], [7, 256], [5, 5, 256]])
    logits, language = inner._forward(batch)
    assert torch.allclose(logits, inner.model(batch), atol=1e-5)
    assert language.item() == pytest.approx(torch.tensor(257.0).log().item(), abs=0.2)


def test_the_kept_weights_fit_the_model(small: list[Message]) -> None:
    trained, _ = run(small, tiny("epochs=1"))
    SpamModel(trained.config).load_state_dict(trained.weights)


def test_the_rate_rises_and_falls() -> None:
    rates = [training.learning_rate(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10] == max(rates) == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(training.FLOOR, abs=0.001)
    assert training.learning_rate(0, 100, 0) == 1


def test_class_weights() -> None:
    spam = torch.tensor([0, 0, 0, 1])
    assert training.class_weights(spam, 0).tolist() == [1, 1]
    full = training.class_weights(spam, 1)
    assert full.tolist() == pytest.approx([2 / 3, 2])
    assert full[spam].mean().item() == pytest.approx(1)
