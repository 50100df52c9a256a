"""Sources: entries that are new, that others left, that this daemon left in an earlier life."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from filterd.availability import Availability
from filterd.entries import RawEntry
from filterd.errors import UnavailableError
from filterd.inflight import InFlight
from filterd.lanes import Lanes
from filterd.metrics import Metrics
from filterd.outbox import Outbox
from filterd.scoring import Scorer, Work
from filterd.streams.consumer import Consumer

log = structlog.get_logger()

INLINE_BYTES = 4096
"""Text tokenized in the event loop: handing so little to a thread costs more than doing it."""


class Sources:
    """Brings entries as long as there is room: decoded, tokenized, queued.

    What can never be scored, and what is remembered, goes to the outbox at once.
    """

    def __init__(
        self,
        consumer: Consumer,
        scorer: Scorer,
        lane: Lanes,
        outbox: Outbox,
        inflight: InFlight,
        availability: Availability,
        metrics: Metrics,
        claim_idle_s: float,
    ) -> None:
        self._consumer = consumer
        self._scorer = scorer
        self._lane = lane
        self._outbox = outbox
        self._inflight = inflight
        self._availability = availability
        self._metrics = metrics
        self._claim_idle_s = claim_idle_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prepare")

    async def run(self) -> None:
        """Until it is time to stop.

        First what this consumer held in an earlier life: nothing new can be mistaken for it.
        """
        try:
            if await self._availability.persist(self._consumer.ensure_group) is not None:
                self._availability.recovered()
            await self._claim_all(idle_ms=0, whose=self._consumer.name)
            async with asyncio.TaskGroup() as sources:
                sources.create_task(self._read())
                sources.create_task(self._claim())
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def renew(self) -> None:
        """Show, again and again, that entries in flight are worked on: nobody may claim them."""
        while True:
            await asyncio.sleep(self._claim_idle_s / 3)
            if held := self._inflight.ids:
                try:
                    await self._consumer.renew(held)
                except UnavailableError as error:
                    await self._availability.mend(error)

    async def _read(self) -> None:
        while await self._has_room():
            read = partial(self._consumer.read, self._lane.appetite)
            entries = await self._availability.persist(read)
            if entries is None:
                return
            if not self._outbox.retrying:  # else Redis is not well yet
                self._availability.recovered()
            self._metrics.entries_read.inc(len(entries))
            await self._admit(entries)

    async def _claim(self) -> None:
        """Take over what others, or a reply that got lost, left without a sign of life."""
        while not self._availability.stopping:
            await self._claim_all(int(self._claim_idle_s * 1000), whose="")
            await self._availability.persist(self._consumer.reap)
            await self._availability.pause(self._claim_idle_s / 2)

    async def _claim_all(self, idle_ms: int, whose: str) -> None:
        cursor = "-"
        while cursor and await self._has_room():
            page = partial(self._consumer.claim, cursor, idle_ms, self._inflight.ids, whose)
            claimed = await self._availability.persist(page)
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
        while entry_id in self._inflight and not self._availability.stopping:
            self._inflight.released.clear()
            await self._availability.until(self._inflight.released.wait())

    async def _admit(self, raws: Sequence[RawEntry]) -> None:
        fresh = self._inflight.admit(raws)
        if not fresh:
            return
        started = time.monotonic()
        prepare = partial(self._scorer.prepare_all, fresh)
        if sum(raw.size for raw in fresh) <= INLINE_BYTES:
            prepared = prepare()
        else:
            loop = asyncio.get_running_loop()
            prepared = await loop.run_in_executor(self._thread, prepare)
        self._metrics.tokenize_seconds.observe(time.monotonic() - started)
        for raw, item in zip(fresh, prepared, strict=True):
            if isinstance(item, Work):
                self._lane.put(item, alone=self._suspect(raw))
        self._outbox.put([item for item in prepared if not isinstance(item, Work)])

    def _suspect(self, raw: RawEntry) -> bool:
        return raw.deliveries > self._consumer.alone_after

    async def _has_room(self) -> bool:
        """Wait until more may be brought; False when it is time to stop."""
        while not self._availability.stopping:
            event = self._inflight.released if self._inflight.full else self._lane.taken
            if not (self._inflight.full or self._lane.full):
                return True
            event.clear()
            await self._availability.until(event.wait())
        return False
