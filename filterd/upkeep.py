"""Upkeep beside the pipeline: the gauges of the group kept current, the input streams trimmed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from filterd.errors import UnavailableError
from filterd.metrics import Metrics
from filterd.streams.consumer import Consumer
from filterd.streams.trimming import Trimmer

log = structlog.get_logger()

WATCH_S = 1.0
TRIM_EVERY_S = 30.0


async def watch(consumers: Sequence[Consumer], metrics: Metrics) -> None:
    """Keep the gauges of the group current: sums and maxima over its partitions."""
    while True:
        await asyncio.sleep(WATCH_S)
        try:
            found = await asyncio.gather(*(consumer.status() for consumer in consumers))
        except UnavailableError:
            continue  # the pipeline reports it, and the gauges keep their last value
        lags = [float("nan") if status.lag is None else status.lag for status in found]
        metrics.lag_entries.set(sum(lags))
        metrics.pending_entries.set(sum(status.pending for status in found))
        metrics.oldest_pending_seconds.set(max(status.oldest_pending_s for status in found))
        metrics.oldest_undelivered_seconds.set(max(status.oldest_undelivered_s for status in found))


async def trim(trimmers: Sequence[Trimmer]) -> None:
    """Trim each partition's input stream from time to time."""
    while True:
        await asyncio.sleep(TRIM_EVERY_S)
        for trimmer in trimmers:
            try:
                trimmed = await trimmer.trim()
            except UnavailableError as error:
                log.warning("cannot trim", kind=error.kind)
                continue
            if trimmed:
                log.info("trimmed", entries=trimmed)
