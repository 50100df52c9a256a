"""A large pretrained token embedding read through few channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

STD = 0.02
"""Of the projected embedding at the start: what GPT-2 draws its own with."""


class ProjectedEmbedding(nn.Module):
    """A table (V, W) that stays as it is, axes (W, C) that learn, from its principal ones, and each
    row's own shift (V, C), from zero.

    So words that training never saw are read as what they resemble among those it saw. Served is
    the product and the shift, an embedding like any other.
    """

    def __init__(self, table: Tensor, width: int) -> None:
        super().__init__()
        self.table: Tensor
        self.register_buffer("table", table, persistent=False)
        self.axes = nn.Parameter(principal_axes(table, width))
        self.shift = nn.Parameter(torch.zeros(len(table), width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Rows of tokens (N,), (N, C)."""
        return F.embedding(tokens, self.table) @ self.axes + F.embedding(tokens, self.shift)

    @property
    def weight(self) -> Tensor:
        """The embedding that is served, (V, C)."""
        return self.table @ self.axes + self.shift


def centred(table: Tensor) -> Tensor:
    """A table (V, W) with its mean taken off every row."""
    return table - table.mean(0)


def principal_axes(table: Tensor, width: int) -> Tensor:
    """The ``width`` axes, (W, C), along which a centred table varies most, scaled to STD."""
    _, axes = torch.linalg.eigh(table.T @ table)  # ascending
    first = axes[:, -width:].flip(-1)
    scaled: Tensor = first * (STD / (table @ first).std())
    return scaled
