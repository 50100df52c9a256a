"""The first block's projection, looked up instead of computed.

What the first block of a GPT-2 reads is a token's row and a position's, and of their sum only the
norm's scale is not linear. So the products of all rows with the projection can be made once: 40 ms
for the starter, whose forward pass takes .94 of the time then.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from filterd.packing import Packed

LARGEST_BYTES = 2**26
"""Of both tables: 16,000 tokens at a width of 192 take 38 MB; GPT-2's whole vocabulary would take
463, and rows that come from memory are no faster than products."""


class ProjectionTable:
    """Queries, keys and values of the first block, (N, 3C), from two tables and a scale a token.

    With e and p a token's and a position's row less their own means, the layer norm of their sum is
    r * (e + p) * gain + shift, where r is one over the sum's deviation. So the projection W gives
    r * (e @ G + p @ G) + constant, where G is W with the gain in its rows.
    """

    def __init__(
        self, norm: nn.LayerNorm, projection: nn.Linear, tokens: Tensor, positions: Tensor
    ) -> None:
        """tokens (vocabulary, C), positions (n_positions, C): the embeddings' rows."""
        self._width, self._epsilon = norm.normalized_shape, norm.eps
        with torch.no_grad():
            scaled = (projection.weight * norm.weight).t()  # (C, 3C)
            self._tokens = _centred(tokens) @ scaled
            self._positions = _centred(positions) @ scaled
            self._constant = projection.weight @ norm.bias + projection.bias  # (3C,)

    def __call__(self, hidden: Tensor, batch: Packed) -> Tensor:
        """hidden (N, C): the sums of the rows, which say how far each is from its mean."""
        # The norm for its scale alone, (N, 1): torch.var takes seven times as long.
        *_, scale = torch.native_layer_norm(hidden, self._width, None, None, self._epsilon)
        rows = self._tokens.index_select(0, batch.tokens)  # (N, 3C)
        rows += self._positions.index_select(0, batch.positions)
        return torch.addcmul(self._constant, rows, scale, out=rows)


def fits(rows: int, width: int) -> bool:
    """Whether the tables of so many tokens and positions are small enough, in fp32."""
    return rows * 3 * width * 4 <= LARGEST_BYTES


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(1, keepdim=True)
