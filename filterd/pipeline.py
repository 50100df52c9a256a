"""The pipeline: entries in, scores, outcomes out. Four loops around one queue.

``read`` and ``claim`` bring entries, ``score`` runs micro-batches in a thread, ``settle`` writes
outcomes; network I/O goes on while a batch is being scored. An entry is in flight from its
delivery to its settling, and what is in flight bounds how much is read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import structlog
from redis.backoff import ExponentialWithJitterBackoff

from filterd.batcher import Batch, Batcher, Waiting
from filterd.classifier import Classifier
from filterd.engine import CANARY, Tokens
from filterd.entries import Answer, DeadLetter, Entry, Outcome, RawEntry, decode
from filterd.errors import EntryError, GroupMissingError, UnavailableError
from filterd.metrics import Metrics
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
    max_text_bytes: int
    max_deliveries: int
    claim_idle_s: float


@dataclass(slots=True)
class Health:
    """What the daemon waits for; empty while it is ready."""

    waiting_for: str = "the model and Redis"


@dataclass(frozen=True, slots=True)
class Work:
    """An entry and its tokens, in the batcher's queue."""

    entry: Entry
    tokens: Tokens


@dataclass(slots=True)
class _Signals:
    """Events that wake the loops."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)


class Pipeline:
    """Runs until ``stop`` is set, then settles what is in flight and returns."""

    def __init__(
        self,
        config: PipelineConfig,
        consumer: Consumer,
        settler: Settler,
        classifier: Classifier,
        metrics: Metrics,
    ) -> None:
        self.health = Health()
        self._config = config
        self._consumer = consumer
        self._settler = settler
        self._classifier = classifier
        self._metrics = metrics
        self._signals = _Signals()
        self._batcher: Batcher[Work] = Batcher(config.max_batch_tokens, config.linger_s)
        self._outbox: list[Outcome] = []
        self._inflight: set[str] = set()
        self._sources_done = self._scoring_done = False
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="filterd")
        metrics.inflight_entries.set_function(lambda: len(self._inflight))
        metrics.ready.set_function(lambda: not self.health.waiting_for)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop``, then drain. Cancel it to give up; nothing is lost by that."""
        self._signals.stop = stop
        renewing = asyncio.create_task(self._renew())
        try:
            await self._persist(self._consumer.ensure_group)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._bring())
                tasks.create_task(self._score())
                tasks.create_task(self._settle())
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
        self._signals.work.set()

    async def _read(self) -> None:
        while await self._room():
            entries = await self._persist(self._consumer.read) or []
            self._metrics.entries_read.inc(len(entries))
            await self._admit(entries)

    async def _claim(self) -> None:
        """Take over what others, or a reply that got lost, left without a sign of life."""
        idle_ms = int(self._config.claim_idle_s * 1000)
        while not self._stopping:
            await self._claim_all(idle_ms, whose="")
            await self._persist(self._consumer.reap)
            await self._pause(self._config.claim_idle_s / 2)

    async def _claim_all(self, idle_ms: int, whose: str) -> None:
        cursor = "-"
        while cursor and await self._room():
            page = partial(self._consumer.claim, cursor, idle_ms, self._inflight, whose)
            claim = await self._persist(page)
            if claim is None:
                return
            cursor = claim.cursor
            self._metrics.claimed.inc(len(claim.entries))
            if claim.gone:
                log.warning("entries were deleted before they were settled", ids=claim.gone)
            await self._admit(claim.entries)
            if any(self._suspect(raw) for raw in claim.entries):
                await self._until_settled(claim.entries[0].id)

    async def _until_settled(self, entry_id: str) -> None:
        while entry_id in self._inflight and not self._stopping:
            self._signals.room.clear()
            await self._either(self._signals.room.wait())

    async def _admit(self, raws: Sequence[RawEntry]) -> None:
        """Decode, tokenize and queue entries; what can never be scored goes to the outbox."""
        fresh = [raw for raw in raws if raw.id not in self._inflight]
        if not fresh:
            return
        self._inflight.update(raw.id for raw in fresh)
        started = time.monotonic()
        if sum(raw.size for raw in fresh) <= INLINE_BYTES:
            prepared = [self._prepare(raw) for raw in fresh]
        else:
            prepared = await self._in_thread(lambda: [self._prepare(raw) for raw in fresh])
        now = time.monotonic()
        self._metrics.tokenize_seconds.observe(now - started)
        for raw, item in zip(fresh, prepared, strict=True):
            if isinstance(item, Work):
                self._batcher.put(Waiting(item, item.tokens.count, now, self._suspect(raw)))
            else:
                self._outbox.append(item)
        self._signals.work.set()
        self._signals.outcome.set()

    def _prepare(self, raw: RawEntry) -> Work | DeadLetter:
        if raw.deliveries > self._config.max_deliveries:
            detail = f"delivered {raw.deliveries} times and never settled"
            return DeadLetter(raw.id, "poison", detail, raw.deliveries)
        try:
            entry = decode(raw, self._config.max_text_bytes)
        except EntryError as error:
            return DeadLetter(raw.id, error.reason, error.detail, raw.deliveries)
        return Work(entry, self._classifier.engine.tokenize(entry.text))

    def _suspect(self, raw: RawEntry) -> bool:
        return raw.deliveries > self._consumer.alone_after

    # Score: micro-batches in a thread.

    async def _score(self) -> None:
        while not (self._sources_done and not self._batcher):
            batch = self._batcher.take(time.monotonic(), drain=self._sources_done)
            if batch is None:
                await self._wait_for_work()
                continue
            self._signals.room.set()
            self._observe(batch)
            started = time.monotonic()
            outcomes = await self._in_thread(partial(self._answer, batch))
            self._metrics.forward_seconds.observe(time.monotonic() - started)
            self._outbox += outcomes
            self._signals.outcome.set()
        self._scoring_done = True
        self._signals.outcome.set()

    async def _wait_for_work(self) -> None:
        self._signals.work.clear()
        due_s = self._batcher.due_in_s(time.monotonic())
        try:
            async with asyncio.timeout(due_s):
                await self._signals.work.wait()
        except TimeoutError:
            return

    def _observe(self, batch: Batch[Work]) -> None:
        now = time.monotonic()
        self._metrics.batch_dispatch.labels(batch.reason).inc()
        self._metrics.batch_entries.observe(len(batch.items))
        self._metrics.batch_tokens.observe(batch.tokens)
        for waiting in batch.items:
            self._metrics.queue_seconds.observe(now - waiting.since_s)

    def _answer(self, batch: Batch[Work]) -> list[Outcome]:
        return self._answer_each([waiting.item for waiting in batch.items])

    def _answer_each(self, works: Sequence[Work]) -> list[Outcome]:
        """Score; where that fails, in halves, until what fails alone is found."""
        try:
            scores = self._classifier.engine.score([work.tokens for work in works])
        except Exception as error:  # noqa: BLE001 - whatever a model does on one message
            if len(works) > 1:
                middle = len(works) // 2
                return self._answer_each(works[:middle]) + self._answer_each(works[middle:])
            return [self._poison(works[0].entry, error)]
        self._metrics.batch_padding_ratio.observe(scores.padding_ratio)
        return [
            Answer(work.entry, self._classifier.verdict(score))
            for work, score in zip(works, scores.values, strict=True)
        ]

    def _poison(self, entry: Entry, error: Exception) -> DeadLetter:
        """A dead letter, unless the engine fails on a plain message too: then it is the engine."""
        self._classifier.engine.score_texts([CANARY])
        log.error("an entry cannot be scored", id=entry.id, error=type(error).__name__)
        detail = f"scoring failed: {type(error).__name__}"
        return DeadLetter(entry.id, "poison", detail, entry.deliveries)

    # Settle: outcomes and acks.

    async def _settle(self) -> None:
        backoff, failures = ExponentialWithJitterBackoff(cap=5.0, base=0.05), 0
        while not (self._scoring_done and not self._outbox):
            if not self._outbox:
                self._signals.outcome.clear()
                await self._signals.outcome.wait()
                continue
            batch, self._outbox = self._outbox[:SETTLE_AT_ONCE], self._outbox[SETTLE_AT_ONCE:]
            started = time.monotonic()
            try:
                done = await self._settler.settle(batch)
            except UnavailableError as error:
                self._outbox = batch + self._outbox
                await self._mend(error)
            else:
                self._metrics.settle_seconds.observe(time.monotonic() - started)
                self._record(done)
                if done.refusal is None:
                    failures = 0
                    continue
                self._outbox += done.refused
                self._report(done.refusal)
            await asyncio.sleep(backoff.compute(failures))
            failures += 1

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
        if done.refusal is None:
            self._recovered()
        self._signals.room.set()

    # What the loops share.

    @property
    def _stopping(self) -> bool:
        return self._signals.stop.is_set()

    async def _room(self) -> bool:
        """Wait until more may be brought; False when it is time to stop."""
        while not self._stopping:
            queued = self._batcher.tokens < 2 * self._config.max_batch_tokens
            if queued and len(self._inflight) < MOST_INFLIGHT:
                return True
            self._signals.room.clear()
            await self._either(self._signals.room.wait())
        return False

    async def _renew(self) -> None:
        """Show that entries in flight are being worked on, so that nobody claims them."""
        while True:
            await asyncio.sleep(self._config.claim_idle_s / 3)
            if held := sorted(self._inflight):
                try:
                    await self._consumer.renew(held)
                except UnavailableError as error:
                    await self._mend(error)

    async def _persist(self, act: Callable[[], Awaitable[T]]) -> T | None:
        """Do it, again and again while Redis is away; None when it is time to stop."""
        backoff, failures = ExponentialWithJitterBackoff(cap=5.0, base=0.05), 0
        while not self._stopping:
            try:
                result = await act()
            except UnavailableError as error:
                await self._mend(error)
                await self._pause(backoff.compute(failures))
                failures += 1
            else:
                self._recovered()
                return result
        return None

    async def _mend(self, error: UnavailableError) -> None:
        """Report it, and make a missing group again."""
        self._report(error)
        if isinstance(error, GroupMissingError):
            try:
                if await self._consumer.ensure_group():
                    log.warning("the consumer group was gone and has been made again")
            except UnavailableError as worse:
                self._report(worse)

    def _report(self, error: UnavailableError) -> None:
        self._metrics.redis_errors.labels(error.kind).inc()
        if self.health.waiting_for != str(error):
            log.warning("backing off", kind=error.kind, reason=str(error))
        self.health.waiting_for = str(error)

    def _recovered(self) -> None:
        if self.health.waiting_for:
            log.info("ready", inflight=len(self._inflight))
        self.health.waiting_for = ""

    async def _in_thread(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act)

    async def _pause(self, seconds: float) -> None:
        await self._either(asyncio.sleep(seconds))

    async def _either(self, waiting: Awaitable[object]) -> None:
        """Wait for it, or for the stop, whichever comes first."""
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(self._signals.stop.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
