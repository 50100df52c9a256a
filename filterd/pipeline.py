"""The pipeline: entries in, scores, outcomes out. Four loops around one queue.

``read`` and ``claim`` bring entries, ``score`` runs micro-batches in a thread, ``settle`` writes
outcomes; network I/O goes on while a batch is being scored. An entry is in flight from its
delivery to its settling, and what is in flight bounds how much is read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from filterd.availability import Availability, pause_s
from filterd.batcher import Batch, Batcher, Waiting
from filterd.entries import Answer, Outcome, RawEntry
from filterd.errors import FilterdError, UnavailableError
from filterd.metrics import Metrics
from filterd.scoring import Scorer, Work
from filterd.streams.consumer import Consumer, id_ms
from filterd.streams.settling import Settled, Settler

T = TypeVar("T")
log = structlog.get_logger()

INLINE_BYTES = 4096
"""Text tokenized in the event loop: handing so little to a thread costs more than doing it."""

MOST_INFLIGHT = 8192
SETTLE_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """Limits of the pipeline; see the settings of the same names."""

    max_batch_tokens: int
    linger_s: float
    claim_idle_s: float


class Pipeline:
    """Runs until ``stop`` is set, then settles what is in flight and returns.

    Whoever cancels it gives up on what is in flight: it stays pending, nothing is lost.
    """

    def __init__(
        self,
        config: PipelineConfig,
        consumer: Consumer,
        settler: Settler,
        scorer: Scorer,
        metrics: Metrics,
        stop: asyncio.Event,
    ) -> None:
        self.availability = Availability(consumer.ensure_group, metrics, stop)
        self._config = config
        self._consumer = consumer
        self._settler = settler
        self._scorer = scorer
        self._metrics = metrics
        self._batcher: Batcher[Work] = Batcher(config.max_batch_tokens, config.linger_s)
        self._outbox: list[Outcome] = []
        self._refused: list[Outcome] = []
        self._refusals, self._retry_at_s = 0, 0.0
        self._inflight: set[str] = set()
        self._work, self._outcome, self._room = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._sources_done = self._scoring_done = False
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="filterd")
        metrics.inflight_entries.set_function(lambda: len(self._inflight))

    async def run(self) -> None:
        """Serve, then drain. Raises ArtifactError where the engine fails on a plain message."""
        renewing = asyncio.create_task(self._renew())
        try:
            if await self.availability.persist(self._consumer.ensure_group) is not None:
                self.availability.recovered()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._bring())
                tasks.create_task(self._score())
                tasks.create_task(self._settle())
        except* FilterdError as group:
            raise _first(group) from None
        finally:
            renewing.cancel()
            self._threads.shutdown(wait=False, cancel_futures=True)

    # Bring: read new entries, claim idle ones.

    async def _bring(self) -> None:
        """First what this consumer held in an earlier life: nothing new can be mistaken for it."""
        await self._claim_all(idle_ms=0, whose=self._consumer.name)
        async with asyncio.TaskGroup() as sources:
            sources.create_task(self._read())
            sources.create_task(self._claim())
        self._sources_done = True
        self._work.set()

    async def _read(self) -> None:
        while await self._has_room():
            entries = await self.availability.persist(self._consumer.read)
            if entries is None:
                return
            if not (self._outbox or self._refused):  # else a settle is being retried: not well yet
                self.availability.recovered()
            self._metrics.entries_read.inc(len(entries))
            await self._admit(entries)

    async def _claim(self) -> None:
        """Take over what others, or a reply that got lost, left without a sign of life."""
        idle_ms = int(self._config.claim_idle_s * 1000)
        while not self.availability.stopping:
            await self._claim_all(idle_ms, whose="")
            await self.availability.persist(self._consumer.reap)
            await self.availability.pause(self._config.claim_idle_s / 2)

    async def _claim_all(self, idle_ms: int, whose: str) -> None:
        cursor = "-"
        while cursor and await self._has_room():
            page = partial(self._consumer.claim, cursor, idle_ms, self._inflight, whose)
            claimed = await self.availability.persist(page)
            if claimed is None:
                return
            cursor = claimed.cursor
            self._metrics.claimed.inc(len(claimed.entries))
            if claimed.gone:
                log.warning("entries were deleted before they were settled", ids=claimed.gone)
            await self._admit(claimed.entries)
            if any(self._suspect(raw) for raw in claimed.entries):
                await self._until_settled(claimed.entries[0].id)

    async def _until_settled(self, entry_id: str) -> None:
        while entry_id in self._inflight and not self.availability.stopping:
            self._room.clear()
            await self.availability.until(self._room.wait())

    async def _admit(self, raws: Sequence[RawEntry]) -> None:
        """Decode, tokenize and queue entries; what can never be scored goes to the outbox."""
        fresh = [raw for raw in raws if raw.id not in self._inflight]
        if not fresh:
            return
        self._inflight.update(raw.id for raw in fresh)
        started = time.monotonic()
        prepare = partial(self._scorer.prepare_all, fresh)
        inline = sum(raw.size for raw in fresh) <= INLINE_BYTES
        prepared = prepare() if inline else await self._in_thread(prepare)
        now = time.monotonic()
        self._metrics.tokenize_seconds.observe(now - started)
        for raw, item in zip(fresh, prepared, strict=True):
            if isinstance(item, Work):
                self._batcher.put(Waiting(item, item.tokens.count, now, self._suspect(raw)))
            else:
                self._outbox.append(item)
        self._work.set()
        self._outcome.set()

    def _suspect(self, raw: RawEntry) -> bool:
        return raw.deliveries > self._consumer.alone_after

    async def _has_room(self) -> bool:
        """Wait until more may be brought; False when it is time to stop."""
        while not self.availability.stopping:
            queued = self._batcher.tokens < 2 * self._config.max_batch_tokens
            if queued and len(self._inflight) < MOST_INFLIGHT:
                return True
            self._room.clear()
            await self.availability.until(self._room.wait())
        return False

    async def _renew(self) -> None:
        """Show that entries in flight are being worked on, so that nobody claims them."""
        while True:
            await asyncio.sleep(self._config.claim_idle_s / 3)
            if held := sorted(self._inflight):
                try:
                    await self._consumer.renew(held)
                except UnavailableError as error:
                    await self.availability.mend(error)

    # Score: micro-batches in a thread.

    async def _score(self) -> None:
        while not (self._sources_done and not self._batcher):
            batch = self._batcher.take(time.monotonic(), drain=self._sources_done)
            if batch is None:
                await self._wait_for_work()
                continue
            self._room.set()
            started = time.monotonic()
            self._observe(batch, started)
            works = [waiting.item for waiting in batch.items]
            outcomes = await self._in_thread(partial(self._scorer.answer, works))
            self._metrics.forward_seconds.observe(time.monotonic() - started)
            self._outbox += outcomes
            self._outcome.set()
        self._scoring_done = True
        self._outcome.set()

    async def _wait_for_work(self) -> None:
        self._work.clear()
        due_s = self._batcher.due_in_s(time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(due_s):
                await self._work.wait()

    def _observe(self, batch: Batch[Work], now: float) -> None:
        self._metrics.batch_dispatch.labels(batch.reason).inc()
        self._metrics.batch_entries.observe(len(batch.items))
        self._metrics.batch_tokens.observe(batch.tokens)
        for waiting in batch.items:
            self._metrics.queue_seconds.observe(now - waiting.since_s)

    # Settle: outcomes and acks.

    async def _settle(self) -> None:
        """Settle what the outbox holds, as often as it takes."""
        failures = 0
        while not (self._scoring_done and not self._outbox and not self._refused):
            self._retry_refused()
            if not self._outbox:
                await self._wait_for_outcome()
                continue
            batch, self._outbox = self._outbox[:SETTLE_AT_ONCE], self._outbox[SETTLE_AT_ONCE:]
            if await self._settle_batch(batch):
                failures = 0
            else:
                await asyncio.sleep(pause_s(failures))
                failures += 1

    async def _settle_batch(self, batch: list[Outcome]) -> bool:
        """Whether the server answered. What it refused is set aside, so as to hold up no other."""
        started = time.monotonic()
        try:
            done = await self._settler.settle(batch)
        except UnavailableError as error:
            self._outbox = batch + self._outbox
            await self.availability.mend(error)
            return False
        self._metrics.settle_seconds.observe(time.monotonic() - started)
        self._record(done)
        if done.refusal is not None:
            self.availability.report(done.refusal)
            self._refused += done.refused
            self._retry_at_s = time.monotonic() + pause_s(self._refusals)
            self._refusals += 1
        return True

    def _retry_refused(self) -> None:
        if not self._refused:
            self._refusals = 0
        elif time.monotonic() >= self._retry_at_s:
            self._outbox, self._refused = self._outbox + self._refused, []

    async def _wait_for_outcome(self) -> None:
        self._outcome.clear()
        due_s = max(0.0, self._retry_at_s - time.monotonic()) if self._refused else None
        with suppress(TimeoutError):
            async with asyncio.timeout(due_s):
                await self._outcome.wait()

    def _record(self, done: Settled) -> None:
        for outcome in done.settled:
            if isinstance(outcome, Answer):
                self._metrics.verdicts.labels(outcome.verdict.label).inc()
                self._metrics.score.observe(outcome.verdict.score)
            else:
                self._metrics.dead_letters.labels(outcome.reason).inc()
            latency_s = max(0, done.at_ms - id_ms(outcome.entry_id)) / 1000
            self._metrics.latency_seconds.observe(latency_s)
        self._metrics.settle_lost.inc(len(done.lost))
        for outcome in (*done.settled, *done.lost):
            self._inflight.discard(outcome.entry_id)
        self._room.set()

    async def _in_thread(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act)


def _first(group: BaseExceptionGroup[FilterdError]) -> FilterdError:
    """The first error in a group of groups."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
