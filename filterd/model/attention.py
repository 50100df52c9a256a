"""Causal attention over messages packed end to end, each seeing itself alone."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd.model.config import ModelConfig
from filterd.packing import Group, Packed

WIDEST_HEAD = 256
HEAD_STEP = 8
"""Channels of a head, at most and a multiple of, in the kernel of variable-length attention."""


def attends_whole(head_width: int, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether one call may attend for a whole batch, whatever its messages' lengths.

    What torch's kernel takes (FlashAttention-2, Dao, 2023): bf16, on a GPU of Ampere's kind or
    later. Serving alone asks: groups also know dropout and gradients.
    """
    return (
        device.type == "cuda"
        and dtype == torch.bfloat16
        and head_width <= WIDEST_HEAD
        and head_width % HEAD_STEP == 0
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


class PackedAttention(nn.Module):
    """What both families share: causal attention over a packed batch.

    Group by group, or in one call over a batch that has no groups.
    """

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        self.n_head, self.kv_heads = config.n_head, config.kv_heads
        self.head_width = config.head_width
        self.dropout = dropout

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, batch: Packed) -> Tensor:
        """Every token attends: query (N, C), keys and values (N, KV * D), to (N, C)."""
        if not batch.groups:
            places = (batch.bounds, batch.longest)
            return self._whole(query, keys, values, batch, places, causal=True)
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
        if not batch.groups:
            each = torch.arange(len(query) + 1, dtype=torch.int32, device=query.device)
            return self._whole(query, keys, values, batch, (each, 1), causal=False)
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

    def _whole(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        batch: Packed,
        places: tuple[Tensor, int],
        *,
        causal: bool,
    ) -> Tensor:
        """All messages in one call: query (Q, C), keys and values (N, KV * D), to (Q, C).

        places: of the queries, what the batch's ``bounds`` and ``longest`` are of the keys ·
        causal: for a query a key. A last token alone sees all keys; a causal mask that counts
        queries from the first key would leave it that one.
        """
        # Not above: it imports torch's compiler, nearly two seconds that a CPU need not spend.
        from torch.nn.attention.varlen import varlen_attn

        bounds, longest = places
        out = varlen_attn(
            query.view(-1, self.n_head, self.head_width),
            keys.view(-1, self.kv_heads, self.head_width),
            values.view(-1, self.kv_heads, self.head_width),
            bounds,
            batch.bounds,
            longest,
            batch.longest,
            window_size=(-1, 0) if causal else (-1, -1),
            enable_gqa=self.kv_heads != self.n_head,
        )
        return cast("Tensor", out).flatten(1)  # from (Q, H, D)

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
