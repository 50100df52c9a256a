"""Workers: threads that each score one part of a batch on one core, side by side.

Parts side by side beat one forward pass on all cores: nothing waits at the end of each product,
and norms, GELU and attention run in parallel too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from math import ceil
from pathlib import Path
from threading import Barrier, Lock, Semaphore
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

QUOTA = Path("/sys/fs/cgroup/cpu.max")
TORCH_THREADS = torch.get_num_threads()
"""Cores that torch found, or OMP_NUM_THREADS."""


class Workers:
    """``count`` threads; the caller's own where that is one. Several callers may share them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = None if count == 1 else _started(count)
        self._cores = Semaphore(count)
        self._gathering = Lock()

    def map(self, work: Callable[[T], R], parts: Sequence[T], alone: int) -> list[R]:
        """The work of each part, in order; one part takes ``alone`` cores for itself.

        Parts of several callers go to free threads in the order in which they came; who wants
        several cores waits until so many are free.
        """
        if self._pool is None or len(parts) == 1:
            with self._free(alone), _torch_threads(alone):
                return [work(part) for part in parts]
        return list(self._pool.map(partial(self._on_one, work), parts))

    def _on_one(self, work: Callable[[T], R], part: T) -> R:
        with self._cores:
            return work(part)

    @contextmanager
    def _free(self, cores: int) -> Iterator[None]:
        """So many cores, where they are several. One is not waited for: an event loop may ask."""
        if cores == 1:
            yield
            return
        with self._gathering, ExitStack() as held:
            for _ in range(cores):
                held.enter_context(self._cores)
            yield


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Let torch's operations in this thread use so many cores, and then as many as before.

    Sums depend on it: whoever trains beside an engine gets the weights that they would get alone.
    """
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_to_use(quota: Path = QUOTA) -> int:
    """What torch would use, and no more than the container may."""
    try:
        most, period = quota.read_text().split()
    except (OSError, ValueError):
        return TORCH_THREADS
    if most == "max":
        return TORCH_THREADS
    return max(1, min(TORCH_THREADS, ceil(int(most) / int(period))))


def _started(count: int) -> ThreadPoolExecutor:
    """All threads at once: what each sets, torch takes for every thread that comes after it."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix="engine")
    together = Barrier(count)
    for ready in [pool.submit(_one_core, together) for _ in range(count)]:
        ready.result()
    torch.set_num_threads(before)
    return pool


def _one_core(together: Barrier) -> None:
    torch.get_num_threads()  # a thread's first look overrides what was set before it
    together.wait()
    torch.set_num_threads(1)
