"""How weights move: AdamW, its rate over a run, the average that is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trainer.recipe import Recipe

FLOOR = 0.01
"""What a cosine's learning rate ends at, as a share of its highest."""


def share_of_rate(step: int, steps: int, recipe: Recipe) -> float:
    """Share of the highest rate at a step from 0.

    constant: always 1 · cosine: up in a line, then down along a cosine to FLOOR.
    """
    if recipe.schedule == "constant":
        return 1.0
    rising = recipe.warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    progress = (step - rising) / max(1.0, steps - rising)
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * progress)) / 2


def optimizer(trainable: dict[str, nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over parameters by name.

    It decays matrices alone unless the recipe says all; the token embedding has a rate of its own.
    Each group keeps its highest rate under ``peak``. Fused, for an update then goes through memory
    once: 40 steps of the starter took 6.5 to 7.5 s, else 15.2 to 16.2 s (by hand, a busy machine).
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trainable.items():
        decay = recipe.weight_decay if parameter.ndim > 1 or recipe.decay_all else 0.0
        slow = recipe.embedding_rate if is_token_embedding(name) else 1.0
        groups.setdefault((recipe.learning_rate * slow, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "peak": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        lr=recipe.learning_rate,
        betas=(0.9, recipe.beta2),
        fused=True,
    )


def set_rate(of: torch.optim.Optimizer, share: float) -> None:
    """Bring every group to a share of its highest rate."""
    for group in of.param_groups:
        group["lr"] = group["peak"] * share


def is_token_embedding(name: str) -> bool:
    """Whether a parameter is the vocabulary's rows, or the shifts of projected ones."""
    module, *rest = name.split(".")
    return module in ("wte", "embed_tokens") and rest != ["axes"]


class Average:
    """The moving average of weights that learn, by name; with a decay of 0 those weights."""

    def __init__(self, trainable: Mapping[str, nn.Parameter], decay: float) -> None:
        self._trainable, self._decay = trainable, decay
        self.weights = {name: weight.detach() for name, weight in trainable.items()}
        if decay:
            self.weights = {name: weight.clone() for name, weight in self.weights.items()}

    def follow(self, step: int) -> None:
        """Move towards the weights; at first fast, so that it forgets the start. step: from 1."""
        if not self._decay:
            return
        decay = min(self._decay, step / (step + 10))
        move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        move(list(self.weights.values()), list(self._trainable.values()), step)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the average for its weights meanwhile."""
        own = {name: weight.data for name, weight in self._trainable.items()}
        try:
            for name, weight in self._trainable.items():
                weight.data = self.weights[name]
            yield
        finally:
            for name, weight in self._trainable.items():
                weight.data = own[name]

    def copy(self) -> dict[str, Tensor]:
        """As it is now, on the CPU."""
        return {name: weight.detach().cpu().clone() for name, weight in self.weights.items()}
