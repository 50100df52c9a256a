"""Texts as the model reads them: normalised, altered where a recipe says so, encoded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from filterd.normalizer import normalizer
from filterd.tokenizer import Tokenizer, padded, windows
from trainer.augment import alter, cut, join
from trainer.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Examples:
    """What there is to learn: B texts.

    targets: P(spam) of each, (B,), 0 or 1 where a person said so · weights: of each, (B,), in the
    loss · hints: what a larger model makes of each, (B, K), where there is one · kept: which are
    never altered, none of them where empty.
    """

    texts: tuple[str, ...]
    targets: Tensor
    weights: Tensor
    hints: Tensor | None = None
    kept: tuple[bool, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def pick(self, indices: Sequence[int]) -> Examples:
        """Some of them, in the order given."""
        places = list(indices)
        texts = tuple(self.texts[index] for index in places)
        hints = None if self.hints is None else self.hints[places]
        kept = tuple(self.kept[index] for index in places) if self.kept else ()
        return Examples(texts, self.targets[places], self.weights[places], hints, kept)


@dataclass(frozen=True, slots=True)
class View:
    """Examples encoded once: token ids; targets and weights (B,) and hints (B, K) as theirs."""

    ids: list[list[int]]
    targets: Tensor
    weights: Tensor
    hints: Tensor | None = None

    def pick(self, indices: Sequence[int]) -> View:
        """Some of them, in the order given."""
        places = list(indices)
        ids = [self.ids[index] for index in places]
        hints = None if self.hints is None else self.hints[places]
        return View(ids, self.targets[places], self.weights[places], hints)


class Encoder:
    """Encodes for one vocabulary as one recipe says.

    length: tokens of a padded message, or the most of one window.
    """

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, length: int) -> None:
        self.recipe, self.tokenizer, self.length = recipe, tokenizer, length
        self._normalise = normalizer(recipe.normalization)

    def plain(self, examples: Examples) -> View:
        """Every text as serving reads it (its first window)."""
        ids = [self._encode([self._normalise(text)]) for text in examples.texts]
        return View(ids, examples.targets, examples.weights, examples.hints)

    def altered(
        self, examples: Examples, rng: random.Random, groups: Sequence[int] | None = None
    ) -> View:
        """Every text in another form; one that was joined with a spam that is seen is spam, and
        its hint lies midway between the two's.

        groups: a number for each text, where only texts of the same may be joined: a fold that
        leaves some out must not find them behind others.
        """
        recipe, mates = self.recipe, _mates(groups or [0] * len(examples))
        ids, targets = [], examples.targets.clone()
        hints = None if examples.hints is None else examples.hints.clone()
        for index, text in enumerate(examples.texts):
            if examples.kept and examples.kept[index]:
                ids.append(self._encode([self._normalise(text)]))
                continue
            altered = self._alter(examples, index, rng)
            if recipe.joining and rng.random() < recipe.joining:
                other = rng.choice(mates[index])
                if len(self._encode([self._normalise(altered)])) < self.length:
                    targets[index] = max(targets[index], examples.targets[other])
                if hints is not None and examples.hints is not None:
                    hints[index] = (examples.hints[index] + examples.hints[other]) / 2
                altered = join(altered, self._alter(examples, other, rng), rng)
            ids.append(self._encode(cut(self._normalise(altered), recipe.cut_words, rng)))
        return View(ids, targets, examples.weights, hints)

    def _alter(self, examples: Examples, index: int, rng: random.Random) -> str:
        recipe = self.recipe
        disguised = recipe.ham_disguised if examples.targets[index] < 0.5 else 1.0
        return alter(examples.texts[index], rng, recipe.alteration, disguised)

    def _encode(self, pieces: Sequence[str]) -> list[int]:
        """One window of a normalised text; no token spans two of its pieces."""
        encode = self.tokenizer.encode
        ids = [token for piece in pieces for token in encode(piece)]
        cut_to_length = windows if self.recipe.pooling == "last" else padded
        return cut_to_length(ids, self.length, self.tokenizer.end_of_text)[0]


def _mates(groups: Sequence[int]) -> list[list[int]]:
    """For each place all places of its group."""
    members: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    return [members[group] for group in groups]


def longest(texts: Sequence[str], recipe: Recipe, tokenizer: Tokenizer) -> int:
    """Tokens of the longest text, which the article pads all others to."""
    normalise = normalizer(recipe.normalization)
    return max(len(tokenizer.encode(normalise(text))) for text in texts)


def is_altered(recipe: Recipe) -> bool:
    """Whether a recipe ever changes a text."""
    return bool(recipe.alteration or recipe.joining or recipe.cut_words)


def of(
    texts: Sequence[str],
    targets: Sequence[float],
    weights: Sequence[float] | None = None,
    kept: Sequence[bool] = (),
) -> Examples:
    """Examples from plain sequences; without weights all count the same."""
    numbers = torch.tensor(targets, dtype=torch.float32)
    counted = torch.ones(len(texts)) if weights is None else torch.tensor(weights)
    return Examples(tuple(texts), numbers, counted, kept=tuple(kept))
