"""The engine: token ids to scores, on a device, in a precision, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Literal

import torch
from torch import Tensor

from filterd import tuning
from filterd.artifact import Artifact
from filterd.errors import ArtifactError, SettingsError
from filterd.normalizer import normalizer
from filterd.packing import pack, padding_on
from filterd.precision import Precision, Wanted, build, candidates
from filterd.tokenizer import padded, windows
from filterd.workers import Workers, threads_to_use

Device = Literal["auto", "cpu", "cuda"]

CANARY = "Are we still on for lunch tomorrow?"
"""A plain message that any healthy engine can score."""
UNTUNED_BATCH_TOKENS = 4096
"""The budget of an engine that is to find its own, until warm-up did."""
WORTH_A_THREAD = 100e6
"""Floating-point operations below which one more core would wait longer than it works."""
QUICK = 200e6
"""Floating-point operations of a message, three to four milliseconds of a core, that an event loop
may do itself: to hand it to a thread cost 0.9 ms of 6.0 (tests/bench/README.md)."""
WINDOWS_A_PART = 4
"""With fewer, parts of whole windows differ too much in size to run side by side."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A message as its model reads it: one window, or several overlapping ones."""

    windows: tuple[list[int], ...]

    @property
    def count(self) -> int:
        """Tokens in all windows: what the message costs."""
        return sum(len(window) for window in self.windows)


@dataclass(frozen=True, slots=True)
class Scores:
    """P(spam) for each message of a batch, and the share of padding that attention worked on."""

    values: list[float]
    padding_ratio: float


@dataclass(frozen=True, slots=True)
class _Begun:
    """A part whose scores may still be on their way.

    spam (B,): calibrated P(spam) in packed order, on the device · order (B,): as ``Packed`` has it.
    """

    spam: Tensor
    order: Tensor
    padding_ratio: float

    @torch.inference_mode()
    def values(self) -> list[float]:
        """P(spam) of each window in the caller's order, when they are there."""
        spam = self.spam.cpu()
        if not spam.isfinite().all():
            raise ArithmeticError("a score is not a number")
        ordered = torch.empty_like(spam)
        ordered[self.order] = spam
        values: list[float] = ordered.tolist()
        return values


class Engine:
    """Scores messages with one artifact.

    max_batch_tokens: about the most tokens worked on at once; it bounds memory, and ``auto`` has
    warm-up find it · threads: cores to use on a CPU, 0 for all that the container may.
    ``precision`` is what runs: with ``auto`` on a CPU fp32 until warm-up found a faster one among
    ``choices``.
    Raises SettingsError where the device or the precision is not to be had.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        device: Device = "auto",
        precision: Wanted = "auto",
        max_batch_tokens: int | Literal["auto"] = "auto",
        threads: int = 0,
    ) -> None:
        self.manifest = artifact.manifest
        self.folder = artifact.path
        self.device = _pick_device(device)
        self.threads = (threads or threads_to_use()) if self.device.type == "cpu" else 1
        self.choices = candidates(precision, self.device, artifact.manifest)
        self.precision: Precision = self.choices[0]
        self._tune = max_batch_tokens == "auto"
        self.max_batch_tokens = (
            UNTUNED_BATCH_TOKENS if max_batch_tokens == "auto" else max_batch_tokens
        )
        self._artifact = artifact
        self.tokenizer = artifact.tokenizer
        self._normalise = normalizer(artifact.manifest.normalization)
        self._model = build(artifact, self.device, self.precision)
        self._operations_a_token = _operations_a_token(artifact)
        self._workers = Workers(self.threads)

    def tokenize(self, text: str) -> Tokens:
        """Encode a text of any length for this artifact's model."""
        return self.cut(self.encode(text))

    def encode(self, text: str) -> list[int]:
        """The token ids of a text as the model reads it, whatever their number."""
        return self.tokenizer.encode(self._normalise(text))

    def cut(self, ids: Sequence[int]) -> Tokens:
        """Token ids in what this artifact's model can read at once."""
        cut = windows if self.manifest.pooling == "last" else padded
        return Tokens(tuple(cut(ids, self.manifest.max_length, self.tokenizer.end_of_text)))

    def score(self, batch: Sequence[Tokens]) -> Scores:
        """Score messages; one of several windows takes its most spam-like."""
        spans = [window for message in batch for window in message.windows]
        order = sorted(range(len(spans)), key=lambda index: len(spans[index]))
        threads, parts = self._parts([spans[index] for index in order])
        scores, padding = [0.0] * len(spans), 0.0
        done = iter(order)
        for begun in self._workers.map(self._forward, parts, threads):
            values = begun.values()
            padding += begun.padding_ratio * len(values)
            for value, index in zip(values, done, strict=False):
                scores[index] = value
        remaining = iter(scores)
        best = [max(next(remaining) for _ in message.windows) for message in batch]
        return Scores(best, padding / len(spans) if spans else 0.0)

    @property
    def batches_at_once(self) -> int:
        """Batches to score at once, to keep every core busy: one ends while the next begins."""
        return min(2, self.threads)

    def is_quick(self, message: Tokens) -> bool:
        """Whether to score this message alone takes no longer than an event loop may be held up."""
        one = len(message.windows) == 1 and self.device.type == "cpu"
        return one and message.count * self._operations_a_token < QUICK

    def score_texts(self, texts: Sequence[str]) -> list[float]:
        """P(spam) for each text, in order."""
        return self.score([self.tokenize(text) for text in texts]).values

    def warm_up(self) -> None:
        """Choose precision and budget where they are to be found, and run a batch of the budget.

        Raises ArtifactError where the model cannot score a plain message.
        """
        try:
            self.score([self.tokenize(CANARY)])
            if len(self.choices) > 1:
                self._choose_precision()
            if self._tune:
                on_cpu = self.device.type == "cpu"
                cores = self.threads if on_cpu else tuning.GPU_CORES
                least = tuning.WORTH_A_BATCH / self._operations_a_token if on_cpu else 0
                self.max_batch_tokens = tuning.budget(cores, self._score_budget, least)
            else:
                self._score_budget(self.max_batch_tokens)
        except ArithmeticError as error:
            raise ArtifactError(
                f"the artifact {self.manifest.version} scores nothing: {error}"
            ) from error

    def _choose_precision(self) -> None:
        models = {self.precision: self._model}
        for choice in self.choices:
            if choice not in models:
                models[choice] = build(self._artifact, self.device, choice)
        batch = self._typical(tuning.STEPS[0] * self.threads)

        def score_with(choice: Precision) -> None:
            self._model = models[choice]
            self.score(batch)

        works = {choice: partial(score_with, choice) for choice in self.choices}
        self.precision = tuning.fastest(tuning.in_turn(works))
        self._model = models[self.precision]
        self.choices = [self.precision]

    @torch.inference_mode()
    def _forward(self, part: Sequence[list[int]]) -> _Begun:
        """Score some windows, or on a GPU have that done.

        In bf16 a GPU, from Ampere on, works on one part while the next is packed, and whoever wants
        the scores waits. A daemon's batch is one part: there the GPU rests while the next one is
        packed, and while it works the event loop reads, tokenises and settles.
        """
        grouped, padding = not self._model.attends_whole, padding_on(self.device)
        packed = pack(part, grouped=grouped, padding=padding)
        logits = self._model(packed.to(self.device)).float() / self.manifest.temperature  # (B, 2)
        return _Begun(logits.softmax(-1)[:, 1], packed.order, packed.padding_ratio)

    def _parts(self, spans: Sequence[list[int]]) -> tuple[int, list[Sequence[list[int]]]]:
        """Cores worth using, and windows, shortest first, cut into parts of about equal work."""
        total = sum(map(len, spans))
        worth = int(total * self._operations_a_token / WORTH_A_THREAD)
        threads = max(1, min(self.threads, worth))
        abreast = threads if len(spans) >= WINDOWS_A_PART * threads else 1
        rounds = ceil(total / self.max_batch_tokens)
        return threads, cut(spans, abreast * rounds)

    def _score_budget(self, tokens: int) -> None:
        """Score a batch of about so many tokens, that many at once."""
        self.max_batch_tokens = tokens
        self.score(self._typical(tokens))

    def _typical(self, tokens: int) -> list[Tokens]:
        """A batch of about so many tokens, in messages as long as usual."""
        whole = self.manifest.pooling == "padded-last"
        spans = tuning.typical(tokens, self.manifest.max_length, whole)
        return [Tokens((span,)) for span in spans]


def cut(spans: Sequence[list[int]], count: int) -> list[Sequence[list[int]]]:
    """Cut windows, in order, into at most ``count`` parts of about as many tokens each."""
    total = sum(map(len, spans))
    parts: list[Sequence[list[int]]] = []
    first = passed = 0
    for index, span in enumerate(spans):
        if (2 * passed + len(span)) * count > 2 * total * (len(parts) + 1) and index > first:
            parts.append(spans[first:index])
            first = index
        passed += len(span)
    return [*parts, spans[first:]] if spans else []


def _operations_a_token(artifact: Artifact) -> int:
    """Two for each weight of the blocks."""
    blocks = (w for name, w in artifact.weights.items() if name.startswith(("h.", "layers.")))
    return 2 * sum(weight.numel() for weight in blocks)


def _pick_device(wanted: Device) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SettingsError("FILTERD_DEVICE=cuda, but torch sees no CUDA device: use cpu or auto")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)
