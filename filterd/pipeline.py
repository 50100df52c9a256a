"""The pipeline: entries in, scores, outcomes out; all at once, none waiting for another.

``sources`` bring entries, a ``lane`` scores them in threads, the ``outbox`` settles. Network I/O
goes on while a batch is being scored. An entry is in flight from its delivery to its settling, and
what is in flight bounds how much is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from filterd.availability import Availability
from filterd.errors import FilterdError
from filterd.inflight import InFlight
from filterd.lanes import Lane, LaneConfig
from filterd.metrics import Metrics
from filterd.outbox import Outbox, Watcher
from filterd.scoring import Scorer
from filterd.sources import Sources
from filterd.streams.consumer import Consumer
from filterd.streams.settling import Settler


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """Limits of the pipeline; see the settings of the same names."""

    lane: LaneConfig
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
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self.availability = Availability(consumer.ensure_group, metrics, stop)
        inflight = InFlight()
        metrics.inflight_entries.set_function(lambda: len(inflight))
        self._consumer = consumer
        self._outbox = Outbox(settler, inflight, self.availability, metrics, watchers)
        self._lane = Lane(config.lane, scorer, self._outbox.put, metrics)
        self._sources = Sources(
            consumer,
            scorer,
            self._lane,
            self._outbox,
            inflight,
            self.availability,
            metrics,
            config.claim_idle_s,
        )

    async def run(self) -> None:
        """Serve, then drain. Raises ArtifactError where the engine fails on a plain message."""
        renewing = asyncio.create_task(self._sources.renew())
        try:
            if await self.availability.persist(self._consumer.ensure_group) is not None:
                self.availability.recovered()
            await self._flow()
        except* FilterdError as group:
            raise _first(group) from None
        finally:
            renewing.cancel()

    async def _flow(self) -> None:
        """Each part ends when the one before has, and its own queue is empty."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._outbox.run())
            scoring = parts.create_task(self._lane.run())
            await self._sources.run()
            self._lane.end()
            await scoring
            self._outbox.end()


def _first(group: BaseExceptionGroup[FilterdError]) -> FilterdError:
    """The first error in a group of groups."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
