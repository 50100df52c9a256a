"""The classifier: a causal decoder whose head has two classes, over messages packed end to end.

Read from top to bottom: the configuration, attention over a packed batch, the blocks of the two
families, the model. The last block computes keys and values for every token, and everything else
for the one token a message that the head reads.

Parameter names equal the keys of a Hugging Face checkpoint: GPT-2's (Radford et al., 2019), and
for Llama-like models (Touvron et al., 2023) those below ``model.``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd.linear import Rows
from filterd.packing import Group, Packed

LARGEST = 2**20
"""No size of a model is above this: larger ones would overflow where they are multiplied."""
GELU_VALUES = 2**17
"""Values of a GELU worked on at once: half a megabyte, and as much for its gate."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of a backbone, in the words of GPT-2's own configuration.

    n_kv_head: heads that share keys and values, 0 for n_head · n_inner: the MLP's width inside, 0
    for 4 * n_embd · rope_theta: base of the rotary positions. The first and last are Llama's alone.
    """

    vocab_size: int
    n_positions: int
    n_layer: int
    n_head: int
    n_embd: int
    family: Literal["gpt2", "llama"] = "gpt2"
    norm_epsilon: float = 1e-5
    n_kv_head: int = 0
    n_inner: int = 0
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        sizes = (self.vocab_size, self.n_positions, self.n_layer, self.n_head, self.n_embd)
        if min(sizes) < 1 or min(self.n_kv_head, self.n_inner) < 0:
            raise ValueError("every size of a model must be at least 1")
        if max(*sizes, self.n_kv_head, self.n_inner) > LARGEST:
            raise ValueError(f"no size of a model is above {LARGEST}")
        if not (0 < self.norm_epsilon < 1 and 1 <= self.rope_theta < 1e12):
            raise ValueError("norm_epsilon or rope_theta is out of its range")
        if self.n_embd % self.n_head:
            raise ValueError(f"width {self.n_embd} does not divide by {self.n_head} heads")
        if self.n_head % self.kv_heads:
            raise ValueError(f"{self.n_head} heads do not divide by {self.kv_heads} of keys")
        if self.family == "gpt2" and self.kv_heads != self.n_head:
            raise ValueError("GPT-2 has as many heads of keys as of queries")
        if self.family == "llama" and self.head_width % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.head_width}")

    @property
    def head_width(self) -> int:
        """Channels of one head."""
        return self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_kv_head or self.n_head

    @property
    def inner(self) -> int:
        """The MLP's width inside."""
        return self.n_inner or 4 * self.n_embd


class PackedAttention(nn.Module):
    """What both families share: causal attention over a packed batch, group by group."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.n_head, self.kv_heads = config.n_head, config.kv_heads
        self.head_width = config.head_width
        self.dropout = dropout

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, batch: Packed) -> Tensor:
        """Every token attends: query (N, C), keys and values (N, KV * D), to (N, C)."""
        mixed = []
        for group in batch.groups:
            out = F.scaled_dot_product_attention(
                self._rows(query, group, self.n_head),
                self._shared(keys, group),
                self._shared(values, group),
                is_causal=True,
                dropout_p=self._dropout_now,
            )  # (count, H, length, D); rows are padded on the right, where no query looks
            flat = out.transpose(1, 2).reshape(group.count * group.length, -1)
            mixed.append(flat if group.keep is None else flat.index_select(0, group.keep))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def attend_last(self, query: Tensor, keys: Tensor, values: Tensor, batch: Packed) -> Tensor:
        """Only last tokens attend: query (B, C), keys and values (N, KV * D), to (B, C)."""
        mixed, first = [], 0
        for group in batch.groups:
            one = query[first : first + group.count].view(group.count, self.n_head, 1, -1)
            out = F.scaled_dot_product_attention(
                one,
                self._shared(keys, group),
                self._shared(values, group),
                attn_mask=group.mask,
                dropout_p=self._dropout_now,
            )  # (count, H, 1, D)
            mixed.append(out.reshape(group.count, -1))
            first += group.count
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def _shared(self, packed: Tensor, group: Group) -> Tensor:
        """Keys or values (N, KV * D) as one group's (count, H, length, D)."""
        rows = self._rows(packed, group, self.kv_heads)
        if self.kv_heads == self.n_head:
            return rows
        return rows.repeat_interleave(self.n_head // self.kv_heads, dim=1)

    def _rows(self, packed: Tensor, group: Group, heads: int) -> Tensor:
        """Packed channels (N, heads * D) as one group's (count, heads, length, D)."""
        if group.rows is None:
            rows = packed[group.start : group.stop]
        else:
            rows = packed.index_select(0, group.rows.view(-1))  # a quarter of indexing's time
        return rows.view(group.count, group.length, heads, self.head_width).transpose(1, 2)

    @property
    def _dropout_now(self) -> float:
        return self.dropout if self.training else 0.0


class GPT2Attention(PackedAttention):
    """GPT-2's: one projection for queries, keys and values, with biases."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__(config, dropout)
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.query = Rows(self.c_attn, 0, config.n_embd)
        self.keys_values = Rows(self.c_attn, config.n_embd, 3 * config.n_embd)

    def forward(self, hidden: Tensor, batch: Packed) -> Tensor:
        """Every token: (N, C) to (N, C)."""
        query, keys, values = self.c_attn(hidden).chunk(3, dim=-1)  # 3 of (N, C)
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
    """Attention and MLP, each after a LayerNorm and beside a residual."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.norm_epsilon)
        self.attn = GPT2Attention(config, dropout)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.norm_epsilon)
        self.mlp = GPT2MLP(config)
        self.drop = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, batch: Packed) -> Tensor:
        """Every token: (N, C) to (N, C)."""
        hidden = hidden + self.drop(self.attn(self.ln_1(hidden), batch))
        out: Tensor = hidden + self.drop(self.mlp(self.ln_2(hidden)))
        return out

    def last(self, hidden: Tensor, batch: Packed) -> Tensor:
        """One token a message: (N, C) to (B, C)."""
        attended = self.attn.last(self.ln_1(hidden), batch)
        kept = hidden.index_select(0, batch.last) + self.drop(attended)
        out: Tensor = kept + self.drop(self.mlp(self.ln_2(kept)))
        return out


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
