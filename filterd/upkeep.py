"""Upkeep beside the pipeline: the gauges of the group kept current, the input streams trimmed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from filterd.errors import UnavailableError
from filterd.metrics import Metrics
from filterd.streams.consumer import Consumer, GroupStatus
from filterd.streams.trimming import Trimmer

log = structlog.get_logger()

WATCH_S = 1.0
TRIM_EVERY_S = 30.0


async def watch(consumers: Sequence[Consumer], metrics: Metrics) -> None:
    """Keep the gauges of the group current: sums and maxima over its partitions.

    Of a partition that is away the last values count; the pipeline reports it.
    """
    known: dict[str, GroupStatus] = {}
    while True:
        await asyncio.sleep(WATCH_S)
        asked = await asyncio.gather(*map(_status, consumers))
        known |= {
            one.stream: status for one, status in zip(consumers, asked, strict=True) if status
        }
        found = known.values()
        if not found:
            continue
        lags = [float("nan") if status.lag is None else status.lag for status in found]
        lags += [float("nan")] * (len(consumers) - len(found))
        metrics.lag_entries.set(sum(lags))
        metrics.pending_entries.set(sum(status.pending for status in found))
        metrics.oldest_pending_seconds.set(max(status.oldest_pending_s for status in found))
        metrics.oldest_undelivered_seconds.set(max(status.oldest_undelivered_s for status in found))


async def _status(consumer: Consumer) -> GroupStatus | None:
    try:
        return await consumer.status()
    except UnavailableError:
        return None


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
