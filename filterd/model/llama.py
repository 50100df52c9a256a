"""Llama's blocks (Touvron et al., 2023), their parameters named as in a Hugging Face checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd.model.attention import PackedAttention
from filterd.model.config import ModelConfig
from filterd.packing import Packed


class Rotary:
    """Rotary positions (Su et al., 2021), halves of a head rotated against each other."""

    def __init__(self, config: ModelConfig) -> None:
        self.theta, self.head_width = config.rope_theta, config.head_width

    def tables(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines, each (N, 1, D), of positions (N,)."""
        steps = torch.arange(0, self.head_width, 2, device=positions.device) / self.head_width
        angles = positions[:, None] * self.theta**-steps  # (N, D / 2)
        angles = torch.cat((angles, angles), dim=-1)[:, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)

    def turn(self, packed: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """Turn packed channels (N, heads * D) by their positions; the shape stays."""
        heads = packed.view(len(packed), -1, self.head_width)  # (N, heads, D)
        first, second = heads.chunk(2, dim=-1)
        cosines, sines = tables
        turned = heads * cosines + torch.cat((-second, first), dim=-1) * sines
        return turned.view_as(packed)


class LlamaAttention(PackedAttention):
    """Llama's: rotary positions, keys and values shared by several heads, no biases."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__(config, dropout)
        shared = config.kv_heads * config.head_width
        self.q_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.k_proj = nn.Linear(config.n_embd, shared, bias=False)
        self.v_proj = nn.Linear(config.n_embd, shared, bias=False)
        self.o_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.rotary = Rotary(config)

    def forward(self, hidden: Tensor, batch: Packed) -> Tensor:
        """Every token: (N, C) to (N, C)."""
        tables = self.rotary.tables(batch.positions, hidden.dtype)
        query = self.rotary.turn(self.q_proj(hidden), tables)
        keys = self.rotary.turn(self.k_proj(hidden), tables)
        out: Tensor = self.o_proj(self.attend(query, keys, self.v_proj(hidden), batch))
        return out

    def last(self, hidden: Tensor, batch: Packed) -> Tensor:
        """One token a message: (N, C) to (B, C)."""
        cosines, sines = self.rotary.tables(batch.positions, hidden.dtype)
        at_last = (cosines[batch.last], sines[batch.last])
        query = self.rotary.turn(self.q_proj(hidden.index_select(0, batch.last)), at_last)
        keys = self.rotary.turn(self.k_proj(hidden), (cosines, sines))
        out: Tensor = self.o_proj(self.attend_last(query, keys, self.v_proj(hidden), batch))
        return out


class LlamaMLP(nn.Module):
    """SwiGLU (Shazeer, 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.n_embd, config.inner, bias=False)
        self.up_proj = nn.Linear(config.n_embd, config.inner, bias=False)
        self.down_proj = nn.Linear(config.inner, config.n_embd, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, C) to (…, C)."""
        out: Tensor = self.down_proj(F.silu(self.gate_proj(hidden)) * self.up_proj(hidden))
        return out


class LlamaBlock(nn.Module):
    """Attention and MLP, each after an RMSNorm and beside a residual."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.n_embd, eps=config.norm_epsilon)
        self.self_attn = LlamaAttention(config, dropout)
        self.post_attention_layernorm = nn.RMSNorm(config.n_embd, eps=config.norm_epsilon)
        self.mlp = LlamaMLP(config)
        self.drop = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, batch: Packed) -> Tensor:
        """Every token: (N, C) to (N, C)."""
        hidden = hidden + self.drop(self.self_attn(self.input_layernorm(hidden), batch))
        out: Tensor = hidden + self.drop(self.mlp(self.post_attention_layernorm(hidden)))
        return out

    def last(self, hidden: Tensor, batch: Packed) -> Tensor:
        """One token a message: (N, C) to (B, C)."""
        attended = self.self_attn.last(self.input_layernorm(hidden), batch)
        kept = hidden.index_select(0, batch.last) + self.drop(attended)
        out: Tensor = kept + self.drop(self.mlp(self.post_attention_layernorm(kept)))
        return out
