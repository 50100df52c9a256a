"""The outbox: outcomes on their way to Redis, as often as it takes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from filterd.availability import Availability, pause_s
from filterd.entries import Answer, Outcome
from filterd.errors import UnavailableError
from filterd.inflight import InFlight
from filterd.metrics import Metrics
from filterd.streams.consumer import id_ms
from filterd.streams.settling import Settled, Settler

log = structlog.get_logger()

SETTLE_AT_ONCE = 512

Watcher = Callable[[Settled], None]


class Outbox:
    """Settles what is put in; ``watchers`` are told what became of each batch."""

    def __init__(
        self,
        settler: Settler,
        inflight: InFlight,
        availability: Availability,
        metrics: Metrics,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self._settler = settler
        self._inflight = inflight
        self._availability = availability
        self._metrics = metrics
        self._watchers = watchers
        self._waiting: list[Outcome] = []
        self._refused: list[Outcome] = []
        self._refusals, self._retry_at_s = 0, 0.0
        self._ending = False
        self._changed = asyncio.Event()

    @property
    def retrying(self) -> bool:
        """Whether a settle has not succeeded yet."""
        return bool(self._waiting or self._refused)

    def put(self, outcomes: Sequence[Outcome]) -> None:
        """Queue outcomes."""
        if outcomes:
            self._waiting += outcomes
            self._changed.set()

    def end(self) -> None:
        """Nothing more will be put in."""
        self._ending = True
        self._changed.set()

    async def run(self) -> None:
        """Settle until the end, and all is settled."""
        failures = 0
        while not (self._ending and not self.retrying):
            self._retry_refused()
            if not self._waiting:
                await self._wait()
                continue
            batch, self._waiting = self._waiting[:SETTLE_AT_ONCE], self._waiting[SETTLE_AT_ONCE:]
            if await self._settle(batch):
                failures = 0
            else:
                await asyncio.sleep(pause_s(failures))
                failures += 1

    async def _settle(self, batch: list[Outcome]) -> bool:
        """Whether the server answered. What it refused is set aside, so as to hold up no other."""
        started = time.monotonic()
        try:
            done = await self._settler.settle(batch)
        except UnavailableError as error:
            self._waiting = batch + self._waiting
            await self._availability.mend(error)
            return False
        self._metrics.settle_seconds.observe(time.monotonic() - started)
        self._record(done)
        if done.refusal is not None:
            self._availability.report(done.refusal)
            self._refused += done.refused
            self._retry_at_s = time.monotonic() + pause_s(self._refusals)
            self._refusals += 1
        return True

    def _retry_refused(self) -> None:
        if not self._refused:
            self._refusals = 0
        elif time.monotonic() >= self._retry_at_s:
            self._waiting, self._refused = self._waiting + self._refused, []

    async def _wait(self) -> None:
        self._changed.clear()
        due_s = max(0.0, self._retry_at_s - time.monotonic()) if self._refused else None
        with suppress(TimeoutError):
            async with asyncio.timeout(due_s):
                await self._changed.wait()

    def _record(self, done: Settled) -> None:
        metrics = self._metrics
        answers = [outcome for outcome in done.settled if isinstance(outcome, Answer)]
        for label, count in Counter(answer.verdict.label for answer in answers).items():
            metrics.verdicts.labels(label).inc(count)
        metrics.score.observe_all([answer.verdict.score for answer in answers])
        for outcome in done.settled:
            if not isinstance(outcome, Answer):
                metrics.dead_letters.labels(outcome.reason).inc()
        metrics.latency_seconds.observe_all(
            [max(0, done.at_ms - id_ms(outcome.entry_id)) / 1000 for outcome in done.settled]
        )
        metrics.settle_lost.inc(len(done.lost))
        if done.unconfirmed:
            metrics.wait_timeouts.inc(len(done.unconfirmed))
            log.warning("too few replicas have what was settled", entries=len(done.unconfirmed))
        for ended in (done.settled, done.lost):
            self._inflight.release(ended)
        for watcher in self._watchers:
            watcher(done)
