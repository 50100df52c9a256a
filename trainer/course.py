"""How a training run went: epochs, looks between steps, and what was kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Epoch:
    """How an epoch went. Losses in nats a message; train's as it was learning, under dropout."""

    number: int
    examples: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float

    def line(self, epochs: int) -> str:
        """The epoch in one line, of so many."""
        learned = (
            f"epoch {self.number}/{epochs} · {self.examples:,} examples · "
            f"train loss {self.train_loss:.4f} accuracy {self.train_accuracy:.2%}"
        )
        if math.isnan(self.validation_loss):
            return learned
        return (
            f"{learned} · validation loss {self.validation_loss:.4f} "
            f"accuracy {self.validation_accuracy:.2%}"
        )


@dataclass(frozen=True, slots=True)
class Look:
    """A look at both splits between two steps, on a few batches each, as the article takes them."""

    step: int
    examples: int
    train_loss: float
    validation_loss: float
    train_accuracy: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The kept weights, by parameter name, and the run's course."""

    weights: dict[str, Tensor]
    history: tuple[Epoch, ...]
    best: int
    looks: tuple[Look, ...] = ()
    step_losses: tuple[float, ...] = ()


@dataclass
class Course:
    """What a run has behind it; a checkpoint keeps it as plain values."""

    epoch: int = 0
    step: int = 0
    history: list[Epoch] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    step_losses: list[float] = field(default_factory=list)
    lowest: float = math.inf
    best: int = 0

    def as_plain(self) -> dict[str, Any]:
        """Numbers and lists alone."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Course:
        """What ``as_plain`` gave."""
        history = [Epoch(**epoch) for epoch in plain["history"]]
        looks = [Look(**look) for look in plain["looks"]]
        return cls(**{**plain, "history": history, "looks": looks})
