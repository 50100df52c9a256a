"""Availability: go on when Redis is away, refuses, or has forgotten the group."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.backoff import ExponentialWithJitterBackoff

from filterd.errors import GroupMissingError, UnavailableError
from filterd.metrics import Metrics

T = TypeVar("T")
log = structlog.get_logger()


_BACKOFF = ExponentialWithJitterBackoff(cap=5.0, base=0.05)


def pause_s(failures: int) -> float:
    """Seconds until the next try: at random below 0.05, doubled by each failure, at most 5."""
    return float(_BACKOFF.compute(min(failures, 16)))  # 2**1024 would overflow after an hour


class Availability:
    """What the daemon waits for, and how it waits.

    waiting_for: empty while all is well · ensure_group: makes a missing group again, of a stream.
    """

    def __init__(
        self,
        ensure_group: Callable[[], Awaitable[bool]],
        metrics: Metrics,
        stop: asyncio.Event,
        stream: str,
    ) -> None:
        self._log = log.bind(stream=stream)
        self.waiting_for = "Redis"
        self._ensure_group = ensure_group
        self._metrics = metrics
        self._stop = stop

    @property
    def stopping(self) -> bool:
        """Whether nothing new should begin."""
        return self._stop.is_set()

    async def persist(self, act: Callable[[], Awaitable[T]]) -> T | None:
        """Do it, again and again while Redis is away; None when it is time to stop."""
        failures = 0
        while not self.stopping:
            try:
                result = await act()
            except UnavailableError as error:
                await self.mend(error)
                await self.pause(pause_s(failures))
                failures += 1
            else:
                return result
        return None

    async def mend(self, error: UnavailableError) -> None:
        """Report an error, and make a missing group again."""
        self.report(error)
        if isinstance(error, GroupMissingError):
            try:
                if await self._ensure_group():
                    self._log.warning("the consumer group was gone and has been made again")
            except UnavailableError as worse:
                self.report(worse)

    def report(self, error: UnavailableError) -> None:
        """Count it; log it where it is another than before."""
        self._metrics.redis_errors.labels(error.kind).inc()
        if self.waiting_for != str(error):
            self._log.warning("backing off", kind=error.kind, reason=str(error))
        self.waiting_for = str(error)

    def recovered(self) -> None:
        """All is well (again)."""
        if self.waiting_for:
            self._log.info("ready")
        self.waiting_for = ""

    async def pause(self, seconds: float) -> None:
        """Sleep, or wake up to stop."""
        await self.until(asyncio.sleep(seconds))

    async def until(self, waiting: Awaitable[object]) -> None:
        """Wait for it, or for the stop, whichever comes first."""
        tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(self._stop.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
