"""A language model that learns messages, and writes more like them.

What a teacher knows it hands on by its scores of texts, and few have a hundred thousand of their
own: a pretrained language model that was shown some writes the rest (He et al., 2022, "Generate,
annotate, and learn"). It is told the label first, so that it writes of both.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd.errors import ArtifactError
from filterd.tokenizer import Tokenizer
from trainer.checkpoint import Checkpoint
from trainer.dataset import Label, Message
from trainer.pretrained import Pretrained
from trainer.pretrained.language import language_model

READ = 120
"""Tokens learned of a message."""
WRITTEN = 90
"""Tokens that a text may have: one that has no end then is left out."""
SHORTEST = 32
"""Tokens that a model must be able to read."""
BATCH = 128
STEPS = 300
"""With few messages batches are smaller, so that there are about as many steps."""
LEAST = 8
RATE = 3e-4
RISING = 50
"""Steps of warm-up."""
FALLEN = 0.1
"""Share of the rate at the end."""
CHOICES = (READ, BATCH, STEPS, LEAST, RATE, RISING, FALLEN)
"""All that decides what is learned, beside the messages and the model."""
FLOOR = 0.01
"""Tokens less likely than this share of the likeliest are never written."""
AT_ONCE = 64
"""Texts written at once on a CPU."""
MOST = 8192
"""Texts written at once on a GPU that has the memory; more were not tried."""
AT_A_TIME = 4096
"""Tokens of a batch whose scores, of the whole vocabulary, are in memory together."""
IGNORED = -100

Done = Callable[[int], object]
"""Hears of progress, in messages."""


@dataclass(frozen=True, slots=True)
class Writer:
    """transformers' language model, in our tokenizer's ids, on a device."""

    model: Any
    tokenizer: Tokenizer
    device: torch.device

    @classmethod
    def of(cls, pretrained: Pretrained, device: torch.device) -> Writer:
        """One that has learned nothing yet of what it is to write.

        Raises ArtifactError where it can read next to nothing, and as ``language_model`` does.
        """
        if (most := pretrained.config.n_positions) < SHORTEST:
            raise ArtifactError(f"a model of {most} tokens at most cannot write: give another")
        return cls(language_model(pretrained).to(device).eval(), pretrained.tokenizer, device)

    def learn(
        self, messages: Sequence[Message], epochs: int, seed: int, kept: Checkpoint, done: Done
    ) -> float:
        """Train all weights on messages; the last epoch's mean loss, in nats a token.

        kept: where each epoch leaves what the next goes on from, an earlier run's too · done: is
        told how many messages more have been read.
        """
        spans = [self._span(message) for message in messages]
        size = min(BATCH, max(LEAST, epochs * len(spans) // STEPS))
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        behind, loss = self._resume(kept.load(), optimizer)
        done(behind * len(spans))
        rounds = math.ceil(len(spans) / size)
        self.model.train()
        for epoch in range(behind, epochs):
            rng, losses = random.Random(f"{seed} {epoch}"), []  # noqa: S311 - not secret
            for step, batch in enumerate(_batches(spans, size, rng), start=epoch * rounds):
                for group in optimizer.param_groups:
                    group["lr"] = RATE * _share(step, epochs * rounds)
                losses.append(self._step(batch, optimizer))
                done(len(batch))
            loss = sum(losses) / len(losses)
            state = {"epochs": epoch + 1, "loss": loss, "model": self.model.state_dict()}
            if epoch + 1 < epochs:
                state["optimizer"] = optimizer.state_dict()
            kept.save(state)
        self.model.eval()
        return loss

    def _resume(
        self, state: dict[str, Any] | None, optimizer: torch.optim.Optimizer
    ) -> tuple[int, float]:
        """Go on from what was kept; epochs that are behind us, and the loss of the last."""
        if state is None:
            return 0, math.nan
        self.model.load_state_dict(state["model"])
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        return state["epochs"], state["loss"]

    @torch.inference_mode()
    def write(self, label: Label, count: int, temperature: float, seed: int) -> list[str]:
        """Up to ``count`` texts of a label, each on one line.

        Those without an end, or that are no UTF-8, are left out. On one device the same seed gives
        the same texts.
        """
        opening = torch.tensor([self._opening(label)], device=self.device)
        end = self.tokenizer.end_of_text
        with torch.random.fork_rng(devices=[self.device] if self._on_gpu else []):
            torch.manual_seed(seed)
            with self._halves():
                rows = self.model.generate(
                    opening,
                    attention_mask=torch.ones_like(opening),
                    do_sample=True,
                    num_return_sequences=count,
                    temperature=temperature,
                    top_k=0,
                    min_p=FLOOR,
                    max_new_tokens=min(WRITTEN, self._room(label)),
                    eos_token_id=end,
                    pad_token_id=end,
                )
        written = rows[:, opening.shape[1] :].tolist()
        return [text for row in written if (text := self._text(row))]

    def at_once(self) -> int:
        """Texts to write at once: as half of a GPU's free memory holds."""
        if not self._on_gpu:
            return AT_ONCE
        config = self.model.config
        heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
        width = config.hidden_size // config.num_attention_heads
        cache = 2 * config.num_hidden_layers * heads * width * 4 * WRITTEN
        scores = 4 * config.vocab_size
        torch.cuda.empty_cache()  # what learning took
        free, _ = torch.cuda.mem_get_info(self.device)
        # A cache is copied where it grows, and sampling has four copies of the scores.
        return int(max(1, min(MOST, free // 2 // (2 * cache + 4 * scores))))

    @property
    def _on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def _halves(self) -> torch.autocast:
        """A GPU's products in bf16, a CPU's in fp32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._on_gpu)

    def _step(self, batch: Sequence[list[int]], optimizer: torch.optim.Optimizer) -> float:
        """One step, its gradient summed over parts of the batch; the mean loss of a token."""
        tokens = sum(len(span) - 1 for span in batch)
        size = max(1, AT_A_TIME // max(map(len, batch)))
        loss = 0.0
        optimizer.zero_grad()
        for start in range(0, len(batch), size):
            part = self._loss(batch[start : start + size]) / tokens
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimizer.step()
        return loss

    def _loss(self, part: Sequence[list[int]]) -> Tensor:
        """The sum over all tokens but the first of each span."""
        read, wanted = _padded(part, self.tokenizer.end_of_text)
        read, wanted = read.to(self.device), wanted.to(self.device)  # (B, L)
        with self._halves():
            logits = self.model(read).logits  # (B, L, V)
        before = logits[:, :-1].float().flatten(0, 1)
        return F.cross_entropy(
            before, wanted[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
        )

    def _opening(self, label: Label) -> list[int]:
        return [self.tokenizer.end_of_text, *self.tokenizer.encode(f"{label}\n")]

    def _span(self, message: Message) -> list[int]:
        text = self.tokenizer.encode(message.text)[: min(READ, self._room(message.label))]
        return [*self._opening(message.label), *text, self.tokenizer.end_of_text]

    def _room(self, label: Label) -> int:
        """Tokens that the model can read between the opening and the end."""
        return int(self.model.config.max_position_embeddings) - len(self._opening(label)) - 1

    def _text(self, row: Sequence[int]) -> str:
        """What stands before the end, on one line; nothing where there is none."""
        end = self.tokenizer.end_of_text
        if end not in row:
            return ""
        try:
            text = b"".join(self.tokenizer.pieces(row[: row.index(end)])).decode()
        except UnicodeDecodeError:
            return ""
        return " ".join(text.split())


def _share(step: int, steps: int) -> float:
    """Of the highest rate, at a step from 0: up in a line, and all the way down in one."""
    return min(1.0, (step + 1) / RISING) * (1 - (1 - FALLEN) * step / steps)


def _batches(
    spans: Sequence[list[int]], size: int, rng: random.Random
) -> Iterator[list[list[int]]]:
    """All spans, near lengths together, the batches in any order."""
    order = sorted(spans, key=lambda span: len(span) + 4 * rng.random())
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    rng.shuffle(batches)
    yield from batches


def _padded(batch: Sequence[list[int]], end: int) -> tuple[Tensor, Tensor]:
    """What is read, and what is wanted of it, (B, L): padding is not."""
    length = max(map(len, batch))
    read = torch.full((len(batch), length), end)
    wanted = torch.full((len(batch), length), IGNORED)
    for row, span in enumerate(batch):
        read[row, : len(span)] = wanted[row, : len(span)] = torch.tensor(span)
    return read, wanted
