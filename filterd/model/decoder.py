"""The whole model: embedding, blocks of either family, norm, head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from filterd.model.attention import attends_whole
from filterd.model.config import ModelConfig
from filterd.model.gpt2 import GPT2Block
from filterd.model.llama import LlamaBlock
from filterd.model.table import ProjectionTable, fits
from filterd.packing import Packed

Block = GPT2Block | LlamaBlock


class SpamModel(nn.Module):
    """A backbone of either family and a head of two classes, read at the last token.

    dropout: on the embedding, attention weights and residuals, while training.
    """

    def __init__(self, config: ModelConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        width = config.n_embd
        self.drop = nn.Dropout(dropout)
        if config.family == "gpt2":
            self.wte = _embedding(config.vocab_size, width)
            self.wpe = _embedding(config.n_positions, width)
            self.h = nn.ModuleList(GPT2Block(config, dropout) for _ in range(config.n_layer))
            self.ln_f = nn.LayerNorm(width, eps=config.norm_epsilon)
        else:
            self.embed_tokens = _embedding(config.vocab_size, width)
            self.layers = nn.ModuleList(LlamaBlock(config, dropout) for _ in range(config.n_layer))
            self.norm = nn.RMSNorm(width, eps=config.norm_epsilon)
        self.head = nn.Linear(width, 2)

    def initialise(self, generator: torch.Generator) -> None:
        """Random weights as GPT-2 draws them: N(0, 0.02), residual projections scaled down."""
        scale = (2 * self.config.n_layer) ** -0.5
        residual = ("c_proj.weight", "o_proj.weight", "down_proj.weight")
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 1:
                nn.init.ones_(parameter)
            else:
                std = 0.02 * (scale if name.endswith(residual) else 1)
                nn.init.normal_(parameter, std=std, generator=generator)

    @property
    def token_embedding(self) -> nn.Embedding:
        """The rows of the vocabulary, (vocabulary, C)."""
        return self.wte if self.config.family == "gpt2" else self.embed_tokens

    @property
    def blocks(self) -> list[Block]:
        """All blocks, first to last."""
        modules: Iterable[nn.Module] = self.h if self.config.family == "gpt2" else self.layers
        return [cast("Block", block) for block in modules]

    @property
    def final_norm(self) -> nn.Module:
        """The norm before the head."""
        return self.ln_f if self.config.family == "gpt2" else self.norm

    @property
    def attends_whole(self) -> bool:
        """Whether it serves batches without groups, where its weights are."""
        weight = self.head.weight
        return attends_whole(self.config.head_width, weight.device, weight.dtype)

    def look_up_first(self) -> None:
        """Let the first block look up its projection, where the table fits.

        From now on its weights must not change. Not of a single block, which computes no queries
        but for one token a message.
        """
        first, config = self.blocks[0], self.config
        if not isinstance(first, GPT2Block) or config.n_layer == 1:
            return
        if fits(config.vocab_size + config.n_positions, config.n_embd):
            rows, positions = self.wte.weight, self.wpe.weight
            first.table = ProjectionTable(first.ln_1, first.attn.c_attn, rows, positions)

    def embed(self, batch: Packed) -> Tensor:
        """What the first block reads: (N, C)."""
        hidden = self.token_embedding(batch.tokens)
        if self.config.family == "gpt2":
            hidden = hidden + self.wpe(batch.positions)
        out: Tensor = self.drop(hidden)
        return out

    def through(self, hidden: Tensor, batch: Packed, first: int, stop: int) -> Tensor:
        """From what block ``first`` reads, (N, C), to what block ``stop`` reads, (N, C).

        Behind the last block (``stop`` is n_layer) there is one token a message, (B, C).
        """
        final = self.config.n_layer - 1
        blocks = self.blocks
        for block in blocks[first : min(stop, final)]:
            hidden = block(hidden, batch)
        if first <= final < stop:
            hidden = blocks[final].last(hidden, batch)
        return hidden

    def classify(self, hidden: Tensor) -> Tensor:
        """Logits of ham and spam, (B, 2), from what the last block gives, (B, C)."""
        out: Tensor = self.head(self.final_norm(hidden))
        return out

    def forward(self, batch: Packed) -> Tensor:
        """Logits (B, 2), in packed order: ``batch.order`` names the callers'."""
        hidden = self.through(self.embed(batch), batch, 0, self.config.n_layer)
        return self.classify(hidden)


def _embedding(rows: int, width: int) -> nn.Embedding:
    """An embedding to be filled: on the meta device torch would import its compiler to draw one.

    That took nine tenths of the time that an artifact needs to load.
    """
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))
