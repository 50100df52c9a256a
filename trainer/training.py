"""Training: set up, fit, validate; the epoch with the lowest calibrated validation loss is kept."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know
from tqdm import tqdm

from filterd.model import ModelConfig, Packed, SpamModel, pack
from filterd.tokenizer import Tokenizer, windows
from trainer import calibration
from trainer.augment import augment
from trainer.dataset import Message
from trainer.loader import batches
from trainer.recipe import Recipe

Say = Callable[[str], None]

FLOOR = 0.01
"""What the learning rate ends at, as a share of its highest."""
VALIDATION_BATCH = 64


@dataclass(frozen=True, slots=True)
class Epoch:
    """How an epoch went. Losses in nats a message; train's as it was learning, under dropout."""

    number: int
    examples: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The kept weights, by parameter name, and every epoch's course."""

    config: ModelConfig
    weights: dict[str, Tensor]
    history: tuple[Epoch, ...]
    best: int


def train(
    recipe: Recipe,
    tokenizer: Tokenizer,
    parts: tuple[Sequence[Message], Sequence[Message]],
    say: Say,
) -> Trained:
    """Train from random weights on the first part, choose the epoch by the second.

    The same recipe, data, library versions and number of threads give the same weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return _Run(recipe, tokenizer, parts).fit(say)


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """Share of the highest rate at a step from 0: up in a line, down along a cosine to FLOOR."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    progress = (step - rising) / max(1.0, steps - rising)
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * progress)) / 2


def class_weights(spam: Tensor, balance: float) -> Tensor:
    """Weights of ham and spam, (2,), mean 1 over the messages; spam (B,) holds 0 and 1."""
    counts = torch.bincount(spam, minlength=2).float()
    raw = counts**-balance
    return raw * counts.sum() / (raw * counts).sum()


class _Run:
    """One training run: the model that learns and the average of its weights that is measured."""

    def __init__(
        self,
        recipe: Recipe,
        tokenizer: Tokenizer,
        parts: tuple[Sequence[Message], Sequence[Message]],
    ) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer
        self.config = ModelConfig(
            tokenizer.vocab_size, recipe.n_positions, recipe.n_layer, recipe.n_head, recipe.n_embd
        )
        self.rng = random.Random(recipe.seed)  # noqa: S311 - reproducible, not secret
        self.model = SpamModel(self.config, recipe.dropout)
        self.model.initialise(torch.Generator().manual_seed(recipe.seed))
        self.average = SpamModel(self.config).eval().requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = _optimizer(self.model, recipe)
        self.texts = [message.text for message in parts[0]]
        self.spam = _targets(parts[0])
        self.weights = class_weights(self.spam, recipe.balance)
        self.validation = [self._encode([message.text]) for message in parts[1]]
        self.validation_spam = _targets(parts[1])
        self.steps_an_epoch = math.ceil(len(self.texts) / recipe.batch_size)
        self.step = 0

    def fit(self, say: Say) -> Trained:
        """All epochs; returns the best by calibrated validation loss."""
        history: list[Epoch] = []
        lowest, best, kept = math.inf, 0, self._weights()
        for number in range(1, self.recipe.epochs + 1):
            train_loss, train_accuracy = self._epoch(number)
            loss, calibrated, accuracy = self._validate()
            examples = number * len(self.texts)
            history.append(Epoch(number, examples, train_loss, train_accuracy, loss, accuracy))
            say(_line(history[-1], self.recipe.epochs))
            if calibrated < lowest:
                lowest, best, kept = calibrated, number, self._weights()
        say(f"kept epoch {best}: the lowest calibrated validation loss, {lowest:.4f}")
        return Trained(self.config, kept, tuple(history), best)

    def _epoch(self, number: int) -> tuple[float, float]:
        """One pass over the training split; its mean loss and accuracy."""
        self.model.train()
        encoded = [self._encode(augment(text, self.recipe, self.rng)) for text in self.texts]
        order = batches([len(ids) for ids in encoded], self.recipe.batch_size, self.rng)
        total, correct = 0.0, 0
        bar = tqdm(
            order, f"epoch {number}", self.steps_an_epoch, leave=False, disable=None, unit="batch"
        )
        for batch in bar:
            loss, right = self._learn([encoded[index] for index in batch], self.spam[batch])
            total += loss * len(batch)
            correct += right
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        return total / len(encoded), correct / len(encoded)

    def _learn(self, messages: list[list[int]], spam: Tensor) -> tuple[float, int]:
        """One step; its plain loss and how many messages were right."""
        packed = pack(messages)
        target = spam[packed.order]  # (B,)
        logits, language = self._forward(packed)  # (B, 2), ()
        smoothing = self.recipe.label_smoothing
        loss = F.cross_entropy(logits, target, self.weights, label_smoothing=smoothing)
        loss = loss + self.recipe.language_weight * language
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
        share = learning_rate(
            self.step, self.steps_an_epoch * self.recipe.epochs, self.recipe.warmup
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * share
        self.optimizer.step()
        self._follow()
        plain = F.cross_entropy(logits.detach(), target)
        return plain.item(), int((logits.argmax(-1) == target).sum())

    def _forward(self, batch: Packed) -> tuple[Tensor, Tensor]:
        """Logits (B, 2), and the mean loss of guessing each next token, in nats.

        The second as Radford et al. (2018) add it to fine-tuning: it teaches the backbone the
        language of messages, of which labels say little.
        """
        model = self.model
        if not self.recipe.language_weight:
            return model(batch), torch.zeros(())
        hidden = model.drop(model.wte(batch.tokens) + model.wpe(batch.positions))  # (N, C)
        for block in model.h:
            hidden = block(hidden, batch)
        hidden = model.ln_f(hidden)
        inside = torch.ones(len(batch.tokens), dtype=torch.bool)
        inside[batch.last] = False  # (N,): tokens that have a next one in their own message
        guesses = F.linear(hidden[inside], model.wte.weight)  # (N - B, vocabulary)
        following = batch.tokens.roll(-1)[inside]
        return model.head(hidden[batch.last]), F.cross_entropy(guesses, following)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the weights; at first fast, so that it forgets the start."""
        self.step += 1
        decay = min(self.recipe.average, self.step / (self.step + 10))
        pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
        for mean, weight in pairs:
            mean.lerp_(weight, 1 - decay)

    def _validate(self) -> tuple[float, float, float]:
        """Loss, calibrated loss and accuracy on the validation split."""
        log_odds = log_odds_of(self.average, self.validation)
        spam = self.validation_spam.numpy().astype(np.float64)
        temperature = calibration.fit_temperature(log_odds, spam)
        accuracy = float(np.mean((log_odds >= 0) == (spam == 1)))
        plain = calibration.loss(log_odds, spam)
        return plain, calibration.loss(log_odds, spam, temperature), accuracy

    def _encode(self, pieces: Sequence[str]) -> list[int]:
        """A message's first window, almost always all of it; no token spans two pieces."""
        tokenizer = self.tokenizer
        ids = [token for piece in pieces for token in tokenizer.encode(piece)]
        return windows(ids, self.recipe.n_positions, tokenizer.end_of_text)[0]

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.average.state_dict().items()}


@torch.inference_mode()
def log_odds_of(model: SpamModel, messages: Sequence[list[int]]) -> calibration.Floats:
    """Spam's logit above ham's for each message, (B,), in order."""
    found = np.empty(len(messages))
    for start in range(0, len(messages), VALIDATION_BATCH):
        packed = pack(messages[start : start + VALIDATION_BATCH])
        logits = model(packed)  # (B, 2)
        found[start + packed.order.numpy()] = (logits[:, 1] - logits[:, 0]).numpy()
    return found


def _targets(messages: Sequence[Message]) -> Tensor:
    return torch.tensor([int(message.label == "spam") for message in messages])


def _optimizer(model: SpamModel, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays matrices, and neither biases nor norms."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


def _line(epoch: Epoch, epochs: int) -> str:
    return (
        f"epoch {epoch.number}/{epochs} · {epoch.examples:,} examples · "
        f"train loss {epoch.train_loss:.4f} accuracy {epoch.train_accuracy:.2%} · "
        f"validation loss {epoch.validation_loss:.4f} accuracy {epoch.validation_accuracy:.2%}"
    )
