"""Lanes: a queue of work, scored in threads, micro-batch by micro-batch, or at once if quick."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from filterd.batcher import Batch, Batcher, Waiting
from filterd.entries import Outcome
from filterd.metrics import Metrics
from filterd.scoring import Scorer, Work

FIRST_READ = 16
"""Entries to ask for before any has shown how long messages are here."""
NEWEST = 0.05
"""Weight of the newest message in the mean of their tokens."""
AT_ONCE = 2
"""Batches begun and not answered; with one core to use the second waits in the thread."""


class Lanes:
    """A lane for each stage of a cascade; of another classifier only the first has work.

    deliver: gets the outcomes of each batch, as soon as a stage has answered.
    """

    def __init__(
        self,
        scorer: Scorer,
        linger_s: float,
        deliver: Callable[[Sequence[Outcome]], None],
        metrics: Metrics,
    ) -> None:
        self.taken = asyncio.Event()
        self._last = _Lane(scorer, 1, linger_s, deliver, self.taken, metrics)
        self._first = _Lane(scorer, 0, linger_s, deliver, self.taken, metrics, self._last)

    @property
    def full(self) -> bool:
        """Whether a whole batch is waiting somewhere: no more is needed to keep busy."""
        return self._first.full or self._last.full

    @property
    def appetite(self) -> int:
        """About how many entries make a batch: enough to read at a time, and no hoarding."""
        return self._first.appetite

    def put(self, work: Work, *, alone: bool) -> None:
        """Queue work; what may be what kills its consumers is scored alone."""
        self._first.put(work, alone=alone)

    def end(self) -> None:
        """Nothing more will be put in."""
        self._first.end()

    async def run(self) -> None:
        """Until the end, and all is scored. Raises ArtifactError where an engine is broken."""
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._last.run())
            await self._first.run()
            self._last.end()


class _Lane:
    """Scores what is put in, oldest first.

    While a batch is scored, one full batch more is begun, so that its parts take the cores that the
    first one's leave, and none waits for the event loop; less than a full one stays here and grows.
    A message that comes alone and is quick is scored in the event loop. taken: set with each batch
    · onward: for what this stage is not sure of.
    """

    def __init__(
        self,
        scorer: Scorer,
        stage: int,
        linger_s: float,
        deliver: Callable[[Sequence[Outcome]], None],
        taken: asyncio.Event,
        metrics: Metrics,
        onward: _Lane | None = None,
    ) -> None:
        self._scorer = scorer
        self._stage = stage
        self._taken = taken
        self._deliver = deliver
        self._metrics = metrics
        self._onward = onward
        engine = scorer.engine(stage)
        budget = engine.max_batch_tokens
        self._queue: Batcher[Work] = Batcher(budget, linger_s)
        self._mean_tokens = budget / FIRST_READ
        self._busy = 0
        self._alone = False
        self._ending = False
        self._changed = asyncio.Event()
        self._threads = ThreadPoolExecutor(engine.batches_at_once, thread_name_prefix="score")

    @property
    def full(self) -> bool:
        """Whether a whole batch is waiting."""
        return self._queue.tokens >= self._queue.max_tokens

    @property
    def appetite(self) -> int:
        """About how many entries make a batch."""
        return max(1, round(self._queue.max_tokens / self._mean_tokens))

    def put(self, work: Work, *, alone: bool) -> None:
        """Queue work."""
        tokens = work.tokens.count
        self._mean_tokens += (tokens - self._mean_tokens) * NEWEST
        self._queue.put(Waiting(work, tokens, time.monotonic(), alone))
        self._changed.set()

    def end(self) -> None:
        """Nothing more will be put in."""
        self._ending = True
        self._changed.set()

    async def run(self) -> None:
        """Until the end, and all is scored."""
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
        self._queue.max_tokens = self._scorer.engine(self._stage).max_batch_tokens
        if self._busy and not self._may_begin_another:
            return None
        batch = self._queue.take(time.monotonic(), drain=self._ending)
        if batch is not None:
            self._busy += 1
            self._alone = batch.items[0].alone
            self._taken.set()
        return batch

    @property
    def _may_begin_another(self) -> bool:
        """Beside a batch that is scored, another full one, neither of them to be scored alone."""
        return self._busy < AT_ONCE and self.full and not (self._alone or self._queue.next_is_alone)

    async def _wait(self) -> None:
        self._changed.clear()
        due_s = None if self._busy else self._queue.due_in_s(time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(due_s):
                await self._changed.wait()

    async def _score(self, batch: Batch[Work]) -> None:
        score = partial(self._answer, batch)
        try:
            if self._is_quick(batch):
                answers = score()
            else:
                answers = await asyncio.get_running_loop().run_in_executor(self._threads, score)
        finally:
            self._busy -= 1
            self._changed.set()
        self._deliver([answer for answer in answers if not isinstance(answer, Work)])
        if self._onward is not None:
            for answer in answers:
                if isinstance(answer, Work):
                    self._onward.put(answer, alone=batch.items[0].alone)

    def _is_quick(self, batch: Batch[Work]) -> bool:
        """What may be what kills its consumers never is: it would take the event loop along."""
        first, *others = batch.items
        return self._busy == 1 and not others and not first.alone and first.item.is_quick

    def _answer(self, batch: Batch[Work]) -> list[Outcome | Work]:
        started = time.monotonic()
        answers = self._scorer.answer([waiting.item for waiting in batch.items])
        metrics = self._metrics
        metrics.forward_seconds.observe(time.monotonic() - started)
        metrics.batch_dispatch.labels(batch.reason).inc()
        metrics.batch_entries.observe(len(batch.items))
        metrics.batch_tokens.observe(batch.tokens)
        metrics.queue_seconds.observe_all([started - waiting.since_s for waiting in batch.items])
        return answers
