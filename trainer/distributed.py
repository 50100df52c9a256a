"""Where training computes, and data-parallel: every process learns from its share of each batch.

``torchrun --nproc-per-node=N -m trainer train …`` starts the processes; alone there is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from filterd.errors import SettingsError

Value = TypeVar("Value")
Wanted = Literal["auto", "cpu", "cuda"]
CPU = torch.device("cpu")
PATIENCE = timedelta(hours=12)
"""How long processes wait for one: all others do while the first asks a teacher of every text. A
process that has died is noticed at once, by its connections."""


@dataclass(frozen=True, slots=True)
class Workers:
    """This process among those that train together.

    rank, size: among all · local_rank, local_size: among those of this machine, who share a disk ·
    device: what it computes on.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    device: torch.device = CPU

    @property
    def leads(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    @property
    def mark(self) -> str:
        """A name that the processes of one run on one machine share, and no other run has."""
        return str(os.getpid() if self.size == 1 else os.getppid())

    def share(self, batch: Sequence[int]) -> list[int]:
        """This process's part of a batch; all parts together are the batch."""
        return list(batch[self.rank :: self.size])

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one exchange."""
        if self.size == 1:
            return
        parts = list(tensors)
        flat = torch.cat([part.reshape(-1) for part in parts])
        dist.all_reduce(flat)
        for part, summed in zip(
            parts, torch.split(flat, [part.numel() for part in parts]), strict=True
        ):
            part.copy_(summed.view_as(part))

    def agree(self, value: Value) -> Value:
        """The first process's value, in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()


ALONE = Workers()
"""One process that does everything, on the CPU."""


def pick_device(wanted: Wanted, local_rank: int = 0) -> torch.device:
    """What a process computes on: with ``auto`` a GPU of its own where there is one.

    Raises SettingsError for a GPU that is not there.
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not there):
        return CPU
    if not there:
        raise SettingsError("torch sees no CUDA device: give --device cpu (TRAINER_DEVICE) or auto")
    if local_rank >= there:
        raise SettingsError(
            f"process {local_rank + 1} of this machine takes a GPU for itself, and there are "
            f"{there}: start no more processes than that, or give --device cpu"
        )
    # Products in TF32, five times as fast: ten bits of mantissa, summed in fp32.
    torch.set_float32_matmul_precision("high")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def alone(wanted: Wanted = "auto") -> Workers:
    """One process that does everything. Raises as ``pick_device`` does."""
    return Workers(device=pick_device(wanted))


@contextmanager
def join(wanted: Wanted = "auto") -> Iterator[Workers]:
    """Take part in the run that torchrun started, or be alone. Raises as ``pick_device`` does.

    All machines of a run must have GPUs, or be told ``cpu``.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = pick_device(wanted, local_rank)
    if size == 1:
        yield Workers(device=device)
        return
    # Tensors are exchanged where they are: what is agreed on lies on the CPU also beside a GPU.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Workers(
            dist.get_rank(), size, local_rank, int(os.environ["LOCAL_WORLD_SIZE"]), device
        )
    finally:
        dist.destroy_process_group()
