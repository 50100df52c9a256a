"""The classifier: a GPT-2 whose head has two classes, over messages packed end to end.

Read from top to bottom: the configuration, the packing of a batch, attention, blocks, the model.

In a batch the tokens of all messages lie one after another, ``(N, C)``, so that no linear layer
works on padding. Only attention needs to know where a message ends: it runs over groups of
messages of equal or near lengths. The last block computes keys and values for every token, and
everything else for the one token a message that the head reads.

Parameter names equal the keys of a Hugging Face GPT-2 checkpoint (Radford et al., 2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of a backbone, in the words of GPT-2's own configuration."""

    vocab_size: int
    n_positions: int
    n_layer: int
    n_head: int
    n_embd: int
    family: Literal["gpt2"] = "gpt2"
    layer_norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        sizes = (self.vocab_size, self.n_positions, self.n_layer, self.n_head, self.n_embd)
        if min(sizes) < 1:
            raise ValueError("every size of a model must be at least 1")
        if self.n_embd % self.n_head:
            raise ValueError(f"width {self.n_embd} does not divide by {self.n_head} heads")


MAX_PADDING = 0.15
"""Share of padding up to which messages of near lengths attend in one call, not one call a length;
``python -m tests.bench.packing`` measures what that costs and saves."""


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring messages of a packed batch that attend in one call.

    start, stop: their tokens in the packed batch · count: messages · length: the longest's tokens
    rows (count, length): where each padded row's tokens lie in the packed batch, and mask
    (count, 1, 1, length): which are real; both None where all have the same length.
    keep (stop - start,): where the real tokens lie among count * length padded ones.
    """

    start: int
    stop: int
    count: int
    length: int
    rows: Tensor | None = None
    mask: Tensor | None = None
    keep: Tensor | None = None

    def to(self, device: torch.device) -> Group:
        """The same group on a device."""
        if self.rows is None or self.mask is None or self.keep is None:
            return self
        return replace(
            self,
            rows=self.rows.to(device, non_blocking=True),
            mask=self.mask.to(device, non_blocking=True),
            keep=self.keep.to(device, non_blocking=True),
        )


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of B messages, N tokens end to end, shortest message first.

    tokens (N,), positions (N,): int64 · last (B,): each message's last token
    order (B,): where each packed message stood in the caller's order · groups: for attention.
    """

    tokens: Tensor
    positions: Tensor
    last: Tensor
    order: Tensor
    groups: tuple[Group, ...]

    @property
    def padding_ratio(self) -> float:
        """Padded positions over all that attention works on, 0 to 1."""
        area = sum(group.count * group.length for group in self.groups)
        return 1 - len(self.tokens) / area if area else 0.0

    def to(self, device: torch.device) -> Packed:
        """The same batch on a device."""
        if device.type == "cpu":
            return self
        return Packed(
            self.tokens.to(device, non_blocking=True),
            self.positions.to(device, non_blocking=True),
            self.last.to(device, non_blocking=True),
            self.order,
            tuple(group.to(device) for group in self.groups),
        )


def pack(messages: Sequence[Sequence[int]]) -> Packed:
    """Pack the token ids of B messages, none of them empty, into one batch."""
    order = sorted(range(len(messages)), key=lambda index: len(messages[index]))
    lengths = torch.tensor([len(messages[index]) for index in order])
    tokens = torch.tensor(list(chain.from_iterable(messages[index] for index in order)))
    ends = lengths.cumsum(0)
    starts = ends - lengths
    positions = torch.arange(len(tokens)) - starts.repeat_interleave(lengths)
    return Packed(
        tokens, positions, ends - 1, torch.tensor(order), tuple(_groups(lengths, starts, ends))
    )


def _groups(lengths: Tensor, starts: Tensor, ends: Tensor) -> Iterator[Group]:
    for first, stop in cut_groups(lengths.tolist()):
        begin, end = int(starts[first]), int(ends[stop - 1])
        count, longest = stop - first, int(lengths[stop - 1])
        if count * longest == end - begin:
            yield Group(begin, end, count, longest)
            continue
        column = torch.arange(longest)
        real = column < lengths[first:stop, None]
        rows = torch.where(real, starts[first:stop, None] + column, begin)
        keep = real.flatten().nonzero().flatten()
        yield Group(begin, end, count, longest, rows, real[:, None, None, :], keep)


def cut_groups(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Cut ascending lengths into runs whose padding stays under MAX_PADDING: (first, stop)."""
    first = total = 0
    for index, length in enumerate(lengths):
        if (index - first + 1) * length * (1 - MAX_PADDING) > total + length and index > first:
            yield first, index
            first, total = index, 0
        total += length
    if lengths:
        yield first, len(lengths)


class Attention(nn.Module):
    """Causal multi-head self-attention over a packed batch."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.dropout = dropout
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, hidden: Tensor, batch: Packed) -> Tensor:
        """Every token attends: (N, C) to (N, C)."""
        qkv = self.c_attn(hidden)  # (N, 3C)
        mixed = [self._attend(qkv, group) for group in batch.groups]
        out: Tensor = self.c_proj(mixed[0] if len(mixed) == 1 else torch.cat(mixed))
        return out

    def last(self, hidden: Tensor, batch: Packed) -> Tensor:
        """Only each message's last token attends, to all of its message: (N, C) to (B, C)."""
        width = hidden.shape[1]
        weight, bias = self.c_attn.weight, self.c_attn.bias
        query = F.linear(hidden[batch.last], weight[:width], bias[:width])  # (B, C)
        keys_values = F.linear(hidden, weight[width:], bias[width:])  # (N, 2C)
        mixed, first = [], 0
        for group in batch.groups:
            key, value = self._rows(keys_values, group, 2)
            one = query[first : first + group.count].view(group.count, self.n_head, 1, -1)
            out = F.scaled_dot_product_attention(
                one, key, value, attn_mask=group.mask, dropout_p=self._dropout_now
            )  # (count, H, 1, D)
            mixed.append(out.reshape(group.count, width))
            first += group.count
        result: Tensor = self.c_proj(torch.cat(mixed))
        return result

    def _attend(self, qkv: Tensor, group: Group) -> Tensor:
        """One group's tokens: (N, 3C) to (stop - start, C).

        Rows are padded on the right, where a causal query never looks.
        """
        query, key, value = self._rows(qkv, group, 3)
        out = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, dropout_p=self._dropout_now
        )  # (count, H, length, D)
        flat = out.transpose(1, 2).reshape(group.count * group.length, -1)
        return flat if group.keep is None else flat[group.keep]

    def _rows(self, packed: Tensor, group: Group, parts: int) -> tuple[Tensor, ...]:
        """Packed projections as ``parts`` tensors (count, H, length, D)."""
        rows = packed[group.start : group.stop] if group.rows is None else packed[group.rows]
        split = rows.view(group.count, group.length, parts, self.n_head, -1)
        return split.permute(2, 0, 3, 1, 4).unbind(0)

    @property
    def _dropout_now(self) -> float:
        return self.dropout if self.training else 0.0


class MLP(nn.Module):
    """Two linear layers with GELU (tanh) between them, four times as wide inside."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, C) to (…, C)."""
        out: Tensor = self.c_proj(F.gelu(self.c_fc(hidden), approximate="tanh"))
        return out


class Block(nn.Module):
    """Attention and MLP, each after a norm and beside a residual."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config, dropout)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)
        self.drop = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, batch: Packed) -> Tensor:
        """Every token: (N, C) to (N, C)."""
        hidden = hidden + self.drop(self.attn(self.ln_1(hidden), batch))
        out: Tensor = hidden + self.drop(self.mlp(self.ln_2(hidden)))
        return out

    def last(self, hidden: Tensor, batch: Packed) -> Tensor:
        """One token a message: (N, C) to (B, C)."""
        attended = self.attn.last(self.ln_1(hidden), batch)
        kept = hidden[batch.last] + self.drop(attended)
        out: Tensor = kept + self.drop(self.mlp(self.ln_2(kept)))
        return out


class SpamModel(nn.Module):
    """A GPT-2 backbone and a head of two classes, ham and spam, read at the last token.

    dropout: on the embedding, attention weights and residuals, while training.
    """

    def __init__(self, config: ModelConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(dropout)
        self.h = nn.ModuleList(Block(config, dropout) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.head = nn.Linear(config.n_embd, 2)

    def initialise(self, generator: torch.Generator) -> None:
        """Random weights as GPT-2 draws them: N(0, 0.02), residual projections scaled down."""
        scale = (2 * self.config.n_layer) ** -0.5
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "ln_" in name:
                nn.init.ones_(parameter)
            else:
                std = 0.02 * (scale if name.endswith("c_proj.weight") else 1)
                nn.init.normal_(parameter, std=std, generator=generator)

    def forward(self, batch: Packed) -> Tensor:
        """Logits of ham and spam, (B, 2), in packed order: ``batch.order`` names the callers'."""
        hidden = self.drop(self.wte(batch.tokens) + self.wpe(batch.positions))  # (N, C)
        *blocks, final = (cast("Block", block) for block in self.h)
        for block in blocks:
            hidden = block(hidden, batch)
        out: Tensor = self.head(self.ln_f(final.last(hidden, batch)))
        return out
