"""The pipeline: entries in, scores, outcomes out; all at once, none waiting for another.

``sources`` bring entries, ``lanes`` score them in threads, the ``outbox`` settles. Network I/O
goes on while a batch is being scored, unless that is one quick message. An entry is in flight from
its delivery to its settling, and what is in flight bounds how much is read. Each partition has
sources and an outbox of its own, so that a shard that is away holds up no other; one lane scores
what all of them bring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from filterd.availability import Availability
from filterd.entries import Outcome
from filterd.errors import FilterdError
from filterd.inflight import InFlight
from filterd.lanes import Lanes
from filterd.metrics import Metrics
from filterd.outbox import Outbox, Watcher
from filterd.scoring import Scorer
from filterd.sources import Sources
from filterd.streams.consumer import Consumer
from filterd.streams.settling import Settler


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """Limits of the pipeline; see the settings of the same names."""

    linger_s: float
    claim_idle_s: float


class Pipeline:
    """Runs until ``stop`` is set, then settles what is in flight and returns.

    Whoever cancels it gives up on what is in flight: it stays pending, nothing is lost.
    """

    def __init__(
        self,
        config: PipelineConfig,
        partitions: Sequence[tuple[Consumer, Settler]],
        scorer: Scorer,
        metrics: Metrics,
        stop: asyncio.Event,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self._lane = Lanes(scorer, config.linger_s, self._deliver, metrics)
        self._parts: dict[str, _Part] = {}
        for consumer, settler in partitions:
            availability = Availability(consumer.ensure_group, metrics, stop, consumer.stream)
            inflight = InFlight(len(partitions))
            outbox = Outbox(settler, inflight, availability, metrics, watchers)
            sources = Sources(
                *(consumer, scorer, self._lane, outbox, inflight, availability, metrics),
                config.claim_idle_s,
            )
            self._parts[consumer.stream] = _Part(availability, inflight, outbox, sources)
        parts = self._parts.values()
        metrics.inflight_entries.set_function(lambda: sum(len(part.inflight) for part in parts))

    @property
    def waiting_for(self) -> str:
        """Empty while all is well, else what some partition waits for."""
        return next(filter(None, (p.availability.waiting_for for p in self._parts.values())), "")

    async def run(self) -> None:
        """Serve, then drain. Raises ArtifactError where the engine fails on a plain message."""
        renewing = [asyncio.create_task(part.sources.renew()) for part in self._parts.values()]
        try:
            await self._flow()
        except* FilterdError as group:
            raise _first(group) from None
        finally:
            for task in renewing:
                task.cancel()

    async def _flow(self) -> None:
        """Each part ends when the one before has, and its own queue is empty."""
        async with asyncio.TaskGroup() as parts:
            for part in self._parts.values():
                parts.create_task(part.outbox.run())
            scoring = parts.create_task(self._lane.run())
            async with asyncio.TaskGroup() as sources:
                for part in self._parts.values():
                    sources.create_task(part.sources.run())
            self._lane.end()
            await scoring
            for part in self._parts.values():
                part.outbox.end()

    def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        """To each partition's outbox what is its own."""
        by_stream = sorted(outcomes, key=_stream) if len(self._parts) > 1 else outcomes
        for stream, own in groupby(by_stream, _stream):
            self._parts[stream].outbox.put(list(own))


@dataclass(frozen=True, slots=True)
class _Part:
    """What a partition has for itself; scoring is common to all."""

    availability: Availability
    inflight: InFlight
    outbox: Outbox
    sources: Sources


_stream = attrgetter("stream")


def _first(group: BaseExceptionGroup[FilterdError]) -> FilterdError:
    """The first error in a group of groups."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
