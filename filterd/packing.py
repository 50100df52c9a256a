"""Packing: the messages of a batch end to end, so that no linear layer works on padding.

Only attention needs to know where a message ends: it runs over groups of messages of equal or
near lengths, or, where one call can take messages of any lengths, over all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Integers = npt.NDArray[np.int64]

MAX_PADDING = 0.15
"""Share of padding up to which messages of near lengths attend in one call, not one call a length;
``python -m tests.bench.packing`` measures what that costs and saves."""
GPU_PADDING = 0.75
"""The same on a GPU, where a call costs more than the padding that it saves. Not yet measured."""


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
    order (B,): where each packed message stood in the caller's order
    bounds (B + 1,): the tokens before each message, and N · longest: tokens of the longest
    groups: for attention; none where it takes all messages in one call, which wants bounds int32.
    """

    tokens: Tensor
    positions: Tensor
    last: Tensor
    bounds: Tensor
    longest: int
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
        tokens, positions, last, bounds = copy_together(
            (self.tokens, self.positions, self.last, self.bounds), device
        )
        return replace(
            self,
            tokens=tokens,
            positions=positions,
            last=last,
            bounds=bounds.to(self.bounds.dtype),
            groups=tuple(group.to(device) for group in self.groups),
        )


def copy_together(tensors: Sequence[Tensor], device: torch.device) -> tuple[Tensor, ...]:
    """Integers of one dimension on a device, int64, in one copy.

    For CUDA from pinned memory, so that nobody waits for it; torch does not give that memory to
    anyone else before the copy is done.
    """
    sizes = [len(tensor) for tensor in tensors]
    staged = torch.empty(sum(sizes), dtype=torch.int64, pin_memory=device.type == "cuda")
    torch.cat(list(tensors), out=staged)
    return torch.split(staged.to(device, non_blocking=True), sizes)


def padding_on(device: torch.device) -> float:
    """The share of padding up to which messages attend in one call on a device."""
    return GPU_PADDING if device.type == "cuda" else MAX_PADDING


def pack(
    messages: Sequence[Sequence[int]], *, grouped: bool = True, padding: float = MAX_PADDING
) -> Packed:
    """Pack the token ids of B messages, none of them empty, into one batch.

    grouped: whether attention needs groups · padding: the largest share of it in one, 0 to 1.
    """
    order = sorted(range(len(messages)), key=lambda index: len(messages[index]))
    sizes = [len(messages[index]) for index in order]
    # By numpy: torch takes eight times as long to read so many integers of Python's.
    ids = chain.from_iterable(messages[index] for index in order)
    tokens = np.fromiter(ids, np.int64, sum(sizes))
    lengths = np.array(sizes)  # (B,)
    bounds = np.concatenate(([0], np.cumsum(lengths)))  # (B + 1,)
    positions = np.arange(len(tokens)) - np.repeat(bounds[:-1], lengths)  # (N,)
    cuts = cut_groups(sizes, padding) if grouped else ()
    groups = tuple(_group(first, stop, lengths, bounds, positions) for first, stop in cuts)
    return Packed(
        torch.from_numpy(tokens),
        torch.from_numpy(positions),
        torch.from_numpy(bounds[1:] - 1),
        torch.from_numpy(bounds if grouped else bounds.astype(np.int32)),
        sizes[-1],
        torch.tensor(order),
        groups,
    )


def _group(
    first: int, stop: int, lengths: Integers, bounds: Integers, positions: Integers
) -> Group:
    """Packed messages from ``first`` to before ``stop``.

    lengths (B,), bounds (B + 1,), positions (N,): of the whole batch.
    """
    begin, end = int(bounds[first]), int(bounds[stop])
    count, longest = stop - first, int(lengths[stop - 1])
    if count * longest == end - begin:
        return Group(begin, end, count, longest)
    own, column = lengths[first:stop], np.arange(longest)
    real = column < own[:, None]  # (count, longest)
    rows = np.where(real, bounds[first:stop, None] + column, begin)
    keep = positions[begin:end] + np.repeat(np.arange(count) * longest, own)
    mask = torch.from_numpy(real)[:, None, None, :]
    return Group(begin, end, count, longest, torch.from_numpy(rows), mask, torch.from_numpy(keep))


def cut_groups(lengths: Sequence[int], padding: float = MAX_PADDING) -> Iterator[tuple[int, int]]:
    """Cut ascending lengths into runs of no more than a share of padding: (first, stop)."""
    first = total = 0
    for index, length in enumerate(lengths):
        if (index - first + 1) * length * (1 - padding) > total + length and index > first:
            yield first, index
            first, total = index, 0
        total += length
    if lengths:
        yield first, len(lengths)
