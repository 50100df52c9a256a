"""Every step, beside a loop that a reader of a textbook would write."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd.packing import pack
from tests.trainer.runs import LLAMA, begun, tiny
from trainer import encoding
from trainer.dataset import Message
from trainer.fitting import Fitting
from trainer.loader import Batches
from trainer.losses import class_weights
from trainer.optimising import share_of_rate
from trainer.recipe import Recipe

METHODS: dict[str, dict[str, Any]] = {
    "plain": {"gradient_clip": 0, "weight_decay": 0, "schedule": "constant", "beta2": 0.999},
    "usual": {"balance": 0.7, "label_smoothing": 0.1, "average": 0.8, "gradient_clip": 0.3},
    "slow embedding": {"embedding_rate": 0.1, "decay_all": True},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("trainable", ["all", 1, 2, "head"])
@pytest.mark.parametrize("family", [{}, LLAMA], ids=["gpt2", "llama"])
def test_steps_are_those_of_the_whole_model(
    tmp_path: Path,
    small: list[Message],
    method: str,
    trainable: str | int,
    family: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where frozen blocks were computed beforehand, and batches are in no order of length."""
    monkeypatch.setattr(Batches, "of", mixed)
    recipe = tiny(trainable=trainable, epochs=2, keep="last", **METHODS[method], **family)
    learned = small[30:110]
    fitting = begun(recipe, learned, tmp_path)
    examples = soft(learned)
    run = fitting.fit("run", fitting.reader(examples), None)
    losses, weights = reference(recipe, fitting, examples, 2)
    assert run.step_losses == pytest.approx(losses, abs=2e-5)
    for name, weight in run.weights.items():
        assert torch.allclose(felt(name, weight), felt(name, weights[name]), atol=2e-4), name


def felt(name: str, weight: Tensor) -> Tensor:
    """A weight without the bias of attention's keys.

    Softmax does not feel that one: its gradient is rounding, of which AdamW makes whole steps.
    """
    query, _, value = weight.chunk(3) if name.endswith("c_attn.bias") else (weight,) * 3
    return torch.cat((query, value))


def mixed(batches: Batches, epoch: int, lengths: list[int]) -> Iterator[list[int]]:
    """Packing sorts each of these anew."""
    order = random.Random(epoch).sample(range(len(lengths)), len(lengths))
    for start in range(0, len(order), 8):
        yield order[start : start + 8]


def soft(messages: list[Message]) -> encoding.Examples:
    """Targets between 0 and 1, as a teacher gives them, of messages that count more or less."""
    targets = [0.9 if message.label == "spam" else (message.row % 4) / 10 for message in messages]
    weights = [1.0 + message.row % 3 for message in messages]
    return encoding.of([message.text for message in messages], targets, weights)


def reference(
    recipe: Recipe, fitting: Fitting, examples: encoding.Examples, epochs: int
) -> tuple[list[float], dict[str, Tensor]]:
    """Loss before each step, and the averaged weights: the whole model, every time."""
    model = fitting.start.build(recipe)
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        [
            {"params": [p], "lr": own_rate(recipe, name), "weight_decay": own_decay(recipe, p)}
            for name, p in learning.items()
        ],
        betas=(0.9, recipe.beta2),
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    average = {name: p.detach().clone() for name, p in learning.items()}
    view = fitting.reader(examples, plain=True).view(0)
    weights = class_weights(view.targets, recipe.balance, view.weights)
    batches, losses = Batches(recipe, len(examples)), []
    for epoch in range(epochs):
        for batch in batches.of(epoch, [len(span) for span in view.ids]):
            packed = pack([view.ids[index] for index in batch])
            target = view.targets[batch][packed.order]
            both = torch.stack((1 - target, target), dim=-1)
            logits = model(packed)
            losses.append(F.cross_entropy(logits, both).item())
            each = F.cross_entropy(
                logits, both, label_smoothing=recipe.label_smoothing, reduction="none"
            )
            weight = (both @ weights) * view.weights[batch][packed.order]
            optimizer.zero_grad()
            ((each * weight).sum() / weight.sum()).backward()
            if recipe.gradient_clip:
                torch.nn.utils.clip_grad_norm_(learning.values(), recipe.gradient_clip)
            steps = batches.steps * recipe.epochs
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share_of_rate(len(losses) - 1, steps, recipe)
            optimizer.step()
            decay = min(recipe.average, len(losses) / (len(losses) + 10))
            for name, p in learning.items():
                average[name] = decay * average[name] + (1 - decay) * p.detach()
    return losses, average


def own_rate(recipe: Recipe, name: str) -> float:
    slow = name in ("wte.weight", "embed_tokens.weight")
    return recipe.learning_rate * (recipe.embedding_rate if slow else 1)


def own_decay(recipe: Recipe, parameter: Tensor) -> float:
    return recipe.weight_decay if parameter.ndim == 2 or recipe.decay_all else 0.0
