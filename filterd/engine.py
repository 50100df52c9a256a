"""The engine: token ids to scores, on a device, in a precision, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from filterd.artifact import Artifact
from filterd.errors import ArtifactError, SettingsError
from filterd.normalizer import normalizer
from filterd.packing import Packed, pack
from filterd.tokenizer import padded, windows

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]

CANARY = "Are we still on for lunch tomorrow?"
"""A plain message that any healthy engine can score."""


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


class Engine:
    """Scores messages with one artifact.

    max_batch_tokens: the most tokens of one forward pass; it bounds memory.
    Raises SettingsError where the device or the precision is not to be had.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        device: Device = "auto",
        precision: Precision = "auto",
        max_batch_tokens: int = 4096,
    ) -> None:
        self.manifest = artifact.manifest
        self.device = _pick_device(device)
        self.precision = _pick_precision(precision, self.device)
        self.max_batch_tokens = max_batch_tokens
        self._tokenizer = artifact.tokenizer
        self._normalise = normalizer(artifact.manifest.normalization)
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        self._model = artifact.build_model().to(self.device, dtype)

    def tokenize(self, text: str) -> Tokens:
        """Encode a text of any length for this artifact's model."""
        ids = self._tokenizer.encode(self._normalise(text))
        cut = windows if self.manifest.pooling == "last" else padded
        return Tokens(tuple(cut(ids, self.manifest.max_length, self._tokenizer.end_of_text)))

    @torch.inference_mode()
    def score(self, batch: Sequence[Tokens]) -> Scores:
        """Score messages; one of several windows takes its most spam-like."""
        spans = [window for message in batch for window in message.windows]
        scores: list[float] = []
        padding = 0.0
        for part in _cut(spans, self.max_batch_tokens):
            packed = pack(part)
            scores.extend(self._forward(packed))
            padding += packed.padding_ratio * len(part) / len(spans)
        remaining = iter(scores)
        best = [max(next(remaining) for _ in message.windows) for message in batch]
        return Scores(best, padding)

    def score_texts(self, texts: Sequence[str]) -> list[float]:
        """P(spam) for each text, in order."""
        return self.score([self.tokenize(text) for text in texts]).values if texts else []

    def warm_up(self) -> None:
        """Run one small and one full batch, so that the first message does not pay for it.

        Raises ArtifactError where the model cannot score a plain message.
        """
        canary = self.tokenize(CANARY)
        try:
            self.score([canary])
        except ArithmeticError as error:
            raise ArtifactError(
                f"the artifact {self.manifest.version} scores nothing: {error}"
            ) from error
        self.score([canary] * max(1, self.max_batch_tokens // canary.count))

    def _forward(self, packed: Packed) -> list[float]:
        """Calibrated P(spam) of one packed batch, in the caller's order."""
        logits = self._model(packed.to(self.device)).float() / self.manifest.temperature  # (B, 2)
        spam = logits.softmax(-1)[:, 1].cpu()
        ordered = torch.empty_like(spam)
        ordered[packed.order] = spam
        if not spam.isfinite().all():
            raise ArithmeticError("a score is not a number")
        values: list[float] = ordered.tolist()
        return values


def _cut(spans: Sequence[list[int]], most_tokens: int) -> Iterator[Sequence[list[int]]]:
    """Cut windows, in order, into parts of at most ``most_tokens``, or of one window."""
    first = total = 0
    for index, span in enumerate(spans):
        if total and total + len(span) > most_tokens:
            yield spans[first:index]
            first, total = index, 0
        total += len(span)
    if spans:
        yield spans[first:]


def _pick_device(wanted: Device) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SettingsError("FILTERD_DEVICE=cuda, but torch sees no CUDA device: use cpu or auto")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def _pick_precision(wanted: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    if wanted == "auto":
        return "bf16" if device.type == "cuda" else "fp32"
    return wanted
