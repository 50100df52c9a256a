"""The monitor: once a second, how this daemon and its group do; kept for and told to the page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from filterd.errors import FilterdError, UnavailableError
from filterd.history import History, Sample, read
from filterd.streams.presence import Presence, Record

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

TICK_S = 1.0
BEAT_EVERY_S = 2.0
"""Between two signs of life."""
MOST_LISTENERS = 32
MOST_UNREAD = 5
"""Ticks that a listener may be behind, before it is sent away to come back."""

Event = Mapping[str, object]


class TooManyError(FilterdError):
    """Too many pages listen."""


class Monitor:
    """Samples the metrics, exchanges signs of life, tells listeners.

    describe: what is constant or slow about this daemon, such as its artifact
    presence: None until Redis is connected.
    """

    def __init__(
        self, name: str, registry: CollectorRegistry, describe: Callable[[], Record]
    ) -> None:
        self.name = name
        self.history = History()
        self.presence: Presence | None = None
        self.group_unknown = ""
        self._registry = registry
        self._describe = describe
        self._others: Mapping[str, Record] = {}
        self._ended = False
        self._listeners: set[asyncio.Queue[Event | None]] = set()

    async def run(self) -> None:
        """Tick until ``end``, or until cancelled; a Redis that hangs holds up no tick."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick())
            tasks.create_task(self._show_life())

    async def _tick(self) -> None:
        while not self._ended:
            sample = self.history.add(read(self._registry, time.time()), self._group_rate())
            if sample is not None:
                self._tell({"sample": asdict(sample), **self.now()})
            await asyncio.sleep(TICK_S)

    async def _show_life(self) -> None:
        while not self._ended:
            await self._beat()
            await asyncio.sleep(BEAT_EVERY_S)

    def end(self) -> None:
        """Stop ticking. A cancellation alone can be lost: while it connects, redis-py eats it."""
        self._ended = True

    def now(self) -> Event:
        """The daemons of the group, and how scores are spread."""
        return {
            "daemons": self.daemons(),
            "group_unknown": self.group_unknown,
            "scores": self.history.scores(),
        }

    def daemons(self) -> list[Record]:
        """Every daemon of the group by its last word, this one by what it knows now."""
        known = {**self._others, self.name: self._record()}
        return [{"name": name, **record} for name, record in sorted(known.items())]

    @contextmanager
    def listen(self) -> Iterator[asyncio.Queue[Event | None]]:
        """Events to come; None when the listener was too slow. Raises TooManyError."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise TooManyError(f"{MOST_LISTENERS} pages listen already: close one")
        queue: asyncio.Queue[Event | None] = asyncio.Queue(MOST_UNREAD + 1)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    async def leave(self) -> None:
        """Say goodbye to the group, if it can be reached."""
        if self.presence is not None:
            try:
                await self.presence.leave()
            except UnavailableError:
                return  # it will be forgotten soon

    def _tell(self, event: Event) -> None:
        for queue in list(self._listeners):
            if queue.qsize() < MOST_UNREAD:
                queue.put_nowait(event)
            else:
                queue.put_nowait(None)
                self._listeners.discard(queue)

    async def _beat(self) -> None:
        if self.presence is None:
            return
        try:
            self._others = await self.presence.beat(self._record())
            self.group_unknown = ""
        except UnavailableError as error:
            self._others, self.group_unknown = {}, str(error)

    def _record(self) -> Record:
        recent = self.history.recent()
        return {**self._describe(), **(_pace(recent) if recent else {})}

    def _group_rate(self) -> float | None:
        rates = [record.get("per_s", 0.0) for record in self._others.values()]
        if len(rates) < 2:
            return None
        return round(sum(rate for rate in rates if isinstance(rate, int | float)), 2)


def _pace(recent: Sample) -> Record:
    """The last seconds in a few numbers."""
    per_s = recent.spam + recent.ham
    return {
        "per_s": round(per_s, 2),
        "spam_share": round(recent.spam / per_s, 4) if per_s else None,
        "latency_ms": recent.latency_ms,
    }
