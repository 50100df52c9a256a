"""The loss: the rarer label counts for more where asked, and soft targets are met."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.trainer.runs import begun, tiny
from trainer import calibration, encoding, make
from trainer.dataset import Message
from trainer.losses import class_weights


def test_class_weights() -> None:
    spam = torch.tensor([0.0, 0, 0, 1])
    assert class_weights(spam, 0).tolist() == [1, 1]
    full = class_weights(spam, 1)
    assert full.tolist() == pytest.approx([2 / 3, 2])
    assert full[spam.long()].mean().item() == pytest.approx(1)
    half = class_weights(spam, 0.5)
    assert (half[1] / half[0]).item() == pytest.approx(math.sqrt(3))
    counted = class_weights(spam, 1, torch.tensor([1.0, 1, 1, 3]))
    assert counted.tolist() == pytest.approx([1, 1])
    soft = class_weights(torch.tensor([0.25, 0.25]), 1)
    assert soft.tolist() == pytest.approx([2 / 3, 2])


def test_balance_finds_more_of_the_rarer(tmp_path: Path, small: list[Message]) -> None:
    """Texts that say nothing of their label: only its frequency can be learned."""
    labels = ["spam" if row % 4 == 0 else "ham" for row in range(80)]
    same_text = [Message("hello", "spam" if word == "spam" else "ham", 1) for word in labels]
    odds = {}
    for balance in (0, 1):
        recipe = tiny(
            balance=balance, vocab_size=257, epochs=8, learning_rate=2e-2, keep="last", average=0.9
        )
        fitting = begun(recipe, same_text, tmp_path)
        run = fitting.fit("run", fitting.reader(make.labelled(same_text)), None)
        plain = fitting.reader(make.labelled(same_text[:1]), plain=True)
        odds[balance] = float(fitting.log_odds(run, plain)[0])
    assert odds[0] == pytest.approx(-math.log(3), abs=0.35)
    assert odds[1] == pytest.approx(0, abs=0.35)


def test_soft_targets_are_learned_as_they_are(tmp_path: Path) -> None:
    texts = ["win a prize", "see you soon"] * 40
    examples = encoding.of(texts, [0.8, 0.3] * 40)
    messages = [Message(text, "ham", 1) for text in texts]
    recipe = tiny(epochs=12, learning_rate=1e-2, keep="last", average=0.8)
    fitting = begun(recipe, messages, tmp_path)
    run = fitting.fit("run", fitting.reader(examples), None)
    log_odds = fitting.log_odds(run, fitting.reader(examples.pick([0, 1]), plain=True))
    assert calibration.scores(log_odds, 1).tolist() == pytest.approx([0.8, 0.3], abs=0.03)
