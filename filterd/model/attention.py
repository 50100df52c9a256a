"""Causal attention over messages packed end to end, each seeing itself alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd.model.config import ModelConfig
from filterd.packing import Group, Packed


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
