"""Lanes: a queue of work, and the threads that score it, micro-batch by micro-batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from filterd.batcher import Batch, Batcher, Waiting
from filterd.entries import Outcome
from filterd.metrics import Metrics
from filterd.scoring import Scorer, Work

FIRST_READ = 16
"""Entries to ask for before any has shown how long messages are here."""
NEWEST = 0.05
"""Weight of the newest message in the mean of their tokens."""


@dataclass(frozen=True, slots=True)
class LaneConfig:
    """max_batch_tokens, linger_s: see the settings · workers: batches scored at the same time."""

    max_batch_tokens: int
    linger_s: float
    workers: int = 1


class Lane:
    """Scores what is put in, oldest first; ``deliver`` gets the outcomes of each batch.

    While all workers score, one full batch more goes to them, so that none of them has to wait
    for the event loop; less than a full one stays here and grows. taken: set with each batch.
    """

    def __init__(
        self,
        config: LaneConfig,
        scorer: Scorer,
        deliver: Callable[[Sequence[Outcome]], None],
        metrics: Metrics,
    ) -> None:
        self.taken = asyncio.Event()
        self._config = config
        self._scorer = scorer
        self._deliver = deliver
        self._metrics = metrics
        self._queue: Batcher[Work] = Batcher(config.max_batch_tokens, config.linger_s)
        self._mean_tokens = 1.0 * config.max_batch_tokens / FIRST_READ
        self._busy = 0
        self._ending = False
        self._changed = asyncio.Event()
        self._threads = ThreadPoolExecutor(config.workers, thread_name_prefix="score")

    @property
    def full(self) -> bool:
        """Whether a whole batch is waiting: no more is needed to keep the workers busy."""
        return self._queue.tokens >= self._config.max_batch_tokens

    @property
    def appetite(self) -> int:
        """About how many entries make a batch: enough to read at a time, and no hoarding."""
        return max(1, round(self._config.max_batch_tokens / self._mean_tokens))

    def put(self, work: Work, *, alone: bool) -> None:
        """Queue work; what may be what kills its consumers is scored alone."""
        tokens = work.tokens.count
        self._mean_tokens += (tokens - self._mean_tokens) * NEWEST
        self._queue.put(Waiting(work, tokens, time.monotonic(), alone))
        self._changed.set()

    def end(self) -> None:
        """Nothing more will be put in."""
        self._ending = True
        self._changed.set()

    async def run(self) -> None:
        """Until the end, and all is scored. Raises ArtifactError where the engine is broken."""
        try:
            async with asyncio.TaskGroup() as batches:
                while not (self._ending and not self._queue):
                    batch = self._next()
                    if batch is None:
                        await self._wait()
                    else:
                        batches.create_task(self._score(batch))
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> Batch[Work] | None:
        spare = self._busy < self._config.workers
        ahead = self._busy == self._config.workers and self.full
        if not (spare or ahead):
            return None
        batch = self._queue.take(time.monotonic(), drain=self._ending)
        if batch is not None:
            self._busy += 1
            self.taken.set()
        return batch

    async def _wait(self) -> None:
        self._changed.clear()
        spare = self._busy < self._config.workers
        due_s = self._queue.due_in_s(time.monotonic()) if spare else None
        with suppress(TimeoutError):
            async with asyncio.timeout(due_s):
                await self._changed.wait()

    async def _score(self, batch: Batch[Work]) -> None:
        try:
            score = partial(self._in_worker, batch)
            outcomes = await asyncio.get_running_loop().run_in_executor(self._threads, score)
        finally:
            self._busy -= 1
            self._changed.set()
        self._deliver(outcomes)

    def _in_worker(self, batch: Batch[Work]) -> list[Outcome]:
        started = time.monotonic()
        outcomes = self._scorer.answer([waiting.item for waiting in batch.items])
        metrics = self._metrics
        metrics.forward_seconds.observe(time.monotonic() - started)
        metrics.batch_dispatch.labels(batch.reason).inc()
        metrics.batch_entries.observe(len(batch.items))
        metrics.batch_tokens.observe(batch.tokens)
        for waiting in batch.items:
            metrics.queue_seconds.observe(started - waiting.since_s)
        return outcomes
