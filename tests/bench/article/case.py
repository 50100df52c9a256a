"""What both sides are given, and what a side's run shows."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from filterd import artifact
from filterd.model import ModelConfig, SpamModel
from filterd.tokenizer import Tokenizer
from trainer.dataset import Message, article_splits, read_messages
from trainer.pretrained.vocabularies import of_pair

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Method:
    """The article's numbers. every: steps between looks · looked_at: batches of each split."""

    epochs: int = 5
    batch_size: int = 8
    learning_rate: float = 5e-5
    weight_decay: float = 0.1
    every: int = 50
    looked_at: int = 5
    seed: int = 123


@dataclass(frozen=True, slots=True)
class Case:
    """What both sides are given. length: tokens of a padded message."""

    learned: list[Message]
    checked: list[Message]
    tokenizer: Tokenizer
    config: ModelConfig
    length: int
    method: Method

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.learned) // self.method.batch_size

    def weights(self) -> dict[str, Tensor]:
        """The weights both sides start from, by SpamModel's names."""
        model = SpamModel(self.config)
        model.initialise(torch.Generator().manual_seed(self.method.seed))
        return {name: weight.detach() for name, weight in model.state_dict().items()}


@dataclass(frozen=True, slots=True)
class Course:
    """What a side's run showed.

    losses: each step's · looks: train's and validation's loss, or at an epoch's end accuracy.
    """

    losses: list[float]
    looks: list[tuple[float, float]]
    features_s: float = 0.0


def case_of(options: argparse.Namespace) -> Case:
    """The article's split with GPT-2's vocabulary, else the sample with the starter's."""
    source = options.data / "sms_spam_collection" / "SMSSpamCollection"
    vocabulary = of_pair(options.data / "gpt2_vocab")
    sample = Path(str(files("filterd"))) / "sample" / "messages.tsv"
    parts, _ = article_splits((source if source.is_file() else sample).read_bytes())
    learned, checked = (read_messages(f"{n}.csv", parts[n]) for n in ("train", "validation"))
    tokenizer = vocabulary.tokenizer if vocabulary else artifact.load().tokenizer
    length = max(len(tokenizer.encode(message.text)) for message in learned)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        n_positions=1024,
        n_layer=options.blocks,
        n_head=max(1, options.width // 64),
        n_embd=options.width,
    )
    if options.messages and options.messages < len(learned):
        learned = learned[: options.messages]
        checked = checked[: max(40, options.messages // 7)]
    return Case(learned, checked, tokenizer, config, length, Method(epochs=options.epochs))


def apart(first: Sequence[float], second: Sequence[float]) -> float:
    """The largest difference between two courses of one length."""
    return max(abs(one - other) for one, other in zip(first, second, strict=True))
