"""What frozen blocks give, computed once a message and kept in a memory-mapped file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from filterd.model import SpamModel
from filterd.packing import Packed, pack, padding_on
from filterd.workers import Workers as Threads
from filterd.workers import threads_to_use
from trainer.distributed import Workers
from trainer.progress import progress

BUDGET_TOKENS = 1024
"""Of a forward pass on one core: 256 to 1,024 differ by 6% at most (tests/bench/README.md)."""
GPU_BUDGET_TOKENS = 16_384
"""Of one on a GPU; other sizes were not measured."""


class Features:
    """Hidden states behind frozen blocks, fp32, of B messages.

    spans: of each, (its tokens, C), or (1, C) behind all blocks.
    """

    def __init__(self, spans: Sequence[np.ndarray]) -> None:
        self.spans = spans

    def packed(self, packed: Packed, indices: Sequence[int]) -> Tensor:
        """The rows of a packed batch, whose messages are these ``indices``: (N, C) or (B, C)."""
        parts = [self.spans[indices[place]] for place in packed.order.tolist()]
        return torch.from_numpy(np.concatenate(parts))


def compute(
    model: SpamModel,
    stop: int,
    ids: Sequence[list[int]],
    path: Path,
    workers: Workers,
    title: str = "frozen blocks",
) -> Features:
    """Run the first ``stop`` blocks over every message, unless ``path`` holds the outcome.

    The processes of one machine share the work and the file. Its name must stand for the weights
    and the messages: what is in it is believed.
    """
    per_message = [1 if stop == model.config.n_layer else len(span) for span in ids]
    starts = [0, *accumulate(per_message)]
    shape = (starts[-1], model.config.n_embd)
    missing = torch.tensor([float(not path.exists())])
    workers.add([missing])  # another machine's disk may lack what this one's holds
    if missing.item():
        _fill(model, stop, ids, (path, shape, starts), workers, title)
    rows = np.asarray(np.memmap(path, dtype=np.float32, mode="r", shape=shape))
    return Features([rows[first:last] for first, last in pairwise(starts)])


def _fill(
    model: SpamModel,
    stop: int,
    ids: Sequence[list[int]],
    target: tuple[Path, tuple[int, int], Sequence[int]],
    workers: Workers,
    title: str,
) -> None:
    """Write aside, each process its batches; the first renames when all are done."""
    path, shape, starts = target
    aside = path.with_suffix(f".{workers.mark}.part")
    if workers.local_rank == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.memmap(aside, dtype=np.float32, mode="w+", shape=shape).flush()
    workers.wait()
    rows = np.memmap(aside, dtype=np.float32, mode="r+", shape=shape)
    mine = list(batches(ids, budget_on(model)))[workers.local_rank :: workers.local_size]
    total = sum(len(ids[index]) for batch in mine for index in batch)
    with progress(title, "token", total=total, unit_scale=True, disable=not workers.leads) as bar:
        for batch, parts in side_by_side(model, stop, ids, mine):
            _write(rows, starts, batch, parts)
            bar.update(sum(len(ids[index]) for index in batch))
    rows.flush()
    workers.wait()
    if workers.local_rank == 0:
        aside.replace(path)
    workers.wait()


def side_by_side(
    model: SpamModel, stop: int, ids: Sequence[list[int]], todo: Sequence[list[int]]
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Batches of messages and what ``run`` makes of them, as many side by side as there are cores.

    todo: the batches, as ``batches`` makes them. A GPU works on one at a time.
    """

    def work(batch: list[int]) -> list[Tensor]:
        return run(model, stop, [ids[index] for index in batch])

    cores = 1 if model.head.weight.is_cuda else min(torch.get_num_threads(), threads_to_use())
    threads = Threads(cores)
    for first in range(0, len(todo), threads.count):
        abreast = todo[first : first + threads.count]
        yield from zip(abreast, threads.map(work, abreast, threads.count), strict=True)


@torch.inference_mode()
def run(model: SpamModel, stop: int, ids: Sequence[list[int]]) -> list[Tensor]:
    """Hidden states of each message, in the given order, behind the first ``stop`` blocks."""
    device = model.head.weight.device
    packed = pack(ids, padding=padding_on(device))
    on_device = packed.to(device)
    hidden = model.through(model.embed(on_device), on_device, 0, stop).float().cpu()
    order = packed.order.tolist()
    counts = [1 if stop == model.config.n_layer else len(ids[place]) for place in order]
    parts: list[Tensor] = [hidden] * len(ids)
    for place, part in zip(order, torch.split(hidden, counts), strict=True):
        parts[place] = part
    return parts


def _write(
    rows: np.memmap, starts: Sequence[int], batch: Sequence[int], parts: Sequence[Tensor]
) -> None:
    for index, part in zip(batch, parts, strict=True):
        rows[starts[index] : starts[index + 1]] = part.numpy()


def budget_on(model: SpamModel) -> int:
    """Tokens of a forward pass where the model is."""
    return GPU_BUDGET_TOKENS if model.head.weight.is_cuda else BUDGET_TOKENS


def batches(ids: Sequence[list[int]], budget: int) -> Iterator[list[int]]:
    """All messages, near lengths together, in batches of about ``budget`` tokens."""
    batch: list[int] = []
    total = 0
    for index in sorted(range(len(ids)), key=lambda index: len(ids[index])):
        if total + len(ids[index]) > budget and batch:
            yield batch
            batch, total = [], 0
        batch.append(index)
        total += len(ids[index])
    if batch:
        yield batch
