"""GPT-2's blocks (Radford et al., 2019), their parameters named as in a Hugging Face checkpoint."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd.linear import Rows
from filterd.model.attention import PackedAttention
from filterd.model.config import ModelConfig
from filterd.model.table import ProjectionTable
from filterd.packing import Packed

GELU_VALUES = 2**17
"""Values of a GELU worked on at once: half a megabyte, and as much for its gate."""


class GPT2Attention(PackedAttention):
    """GPT-2's: one projection for queries, keys and values, with biases, made by the block."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__(config, dropout)
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.query = Rows(self.c_attn, 0, config.n_embd)
        self.keys_values = Rows(self.c_attn, config.n_embd, 3 * config.n_embd)

    def forward(self, projected: Tensor, batch: Packed) -> Tensor:
        """Every token: what ``c_attn`` gives, (N, 3C), to (N, C)."""
        query, keys, values = projected.chunk(3, dim=-1)  # 3 of (N, C)
        out: Tensor = self.c_proj(self.attend(query, keys, values, batch))
        return out

    def last(self, hidden: Tensor, batch: Packed) -> Tensor:
        """One token a message: (N, C) to (B, C)."""
        query = self.query(hidden.index_select(0, batch.last))  # (B, C)
        keys, values = self.keys_values(hidden).chunk(2, dim=-1)  # 2 of (N, C)
        out: Tensor = self.c_proj(self.attend_last(query, keys, values, batch))
        return out


def gelu(inner: Tensor) -> Tensor:
    """GELU in its tanh form (Hendrycks & Gimpel, 2016); overwrites what needs no gradient.

    It equals ``x * sigmoid(x * (a + b * x * x))``, which on a CPU takes half of torch's time: the
    tanh of its vector library is slow. Bit by bit, so that what lies between its four passes stays
    in the core's own cache.
    """
    if inner.requires_grad or inner.is_cuda:
        return F.gelu(inner, approximate="tanh")
    slope = (8 / math.pi) ** 0.5
    constant = inner.new_full((), slope)
    for part in torch.split(inner.view(-1), GELU_VALUES):
        gate = torch.addcmul(constant, part, part, value=0.044715 * slope).mul_(part).sigmoid_()
        part.mul_(gate)
    return inner


class GPT2MLP(nn.Module):
    """Two linear layers with GELU (tanh) between them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, config.inner)
        self.c_proj = nn.Linear(config.inner, config.n_embd)

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, C) to (…, C)."""
        out: Tensor = self.c_proj(gelu(self.c_fc(hidden)))
        return out


class GPT2Block(nn.Module):
    """Attention and MLP, each after a LayerNorm and beside a residual.

    table: instead of the first norm and projection, in the first block of a model that serves.
    """

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.norm_epsilon)
        self.attn = GPT2Attention(config, dropout)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.norm_epsilon)
        self.mlp = GPT2MLP(config)
        self.drop = nn.Dropout(dropout)
        self.table: ProjectionTable | None = None

    def forward(self, hidden: Tensor, batch: Packed) -> Tensor:
        """Every token: (N, C) to (N, C)."""
        if self.table is None:
            projected = self.attn.c_attn(self.ln_1(hidden))
        else:
            projected = self.table(hidden, batch)
        hidden = hidden + self.drop(self.attn(projected, batch))
        out: Tensor = hidden + self.drop(self.mlp(self.ln_2(hidden)))
        return out

    def last(self, hidden: Tensor, batch: Packed) -> Tensor:
        """One token a message: (N, C) to (B, C)."""
        attended = self.attn.last(self.ln_1(hidden), batch)
        kept = hidden.index_select(0, batch.last) + self.drop(attended)
        out: Tensor = kept + self.drop(self.mlp(self.ln_2(kept)))
        return out
