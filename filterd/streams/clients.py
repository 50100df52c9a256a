"""The daemon's clients: one of a single server, or in a cluster one for each stream's shard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from redis.asyncio import Redis

from filterd.errors import SettingsError, UnavailableError
from filterd.streams.connection import STARTING, connect, translated

log = structlog.get_logger()

NOT_SAID = (
    "this is a Redis Cluster: set FILTERD_REDIS_CLUSTER=1, and give FILTERD_INPUT_STREAM, "
    "FILTERD_OUTPUT_STREAM and FILTERD_DEAD_STREAM one hash tag, as in {sms}:messages"
)


class Clients:
    """Clients by the key that they are for."""

    def __init__(self, url: str, *, cluster: bool) -> None:
        self._url, self._cluster = url, cluster
        self._made: dict[str, Redis] = {}

    def of(self, key: str) -> Redis:
        """The client that serves a key."""
        place = key if self._cluster else ""
        if place not in self._made:
            self._made[place] = connect(self._url, place)
        return self._made[place]

    async def aclose(self) -> None:
        """Close them all."""
        for client in self._made.values():
            await client.aclose()


@asynccontextmanager
async def connected(
    url: str, streams: Sequence[str], stop: asyncio.Event, *, cluster: bool
) -> AsyncIterator[Clients]:
    """Clients of these streams. A shard that is away is waited for later, all of them are not.

    Raises UnavailableError where there is no server to start with, SettingsError where it is a
    cluster and the settings do not say so.
    """
    clients = Clients(url, cluster=cluster)
    try:
        apart = streams if cluster else streams[:1]
        said = [await _first_answer(clients.of(stream), stop) for stream in apart]
        found = [answer for answer in said if not isinstance(answer, UnavailableError)]
        if not found:
            raise next(answer for answer in said if isinstance(answer, UnavailableError))
        name, mode = found[0].get("server_name", "redis"), _mode(found[0])
        if mode == "cluster" and not cluster:
            raise SettingsError(NOT_SAID)
        version = found[0].get(f"{name}_version") or found[0]["redis_version"]
        log.info("connected", server=name, version=version, mode=mode, streams=len(streams))
        yield clients
    finally:
        await clients.aclose()


def _mode(info: Mapping[str, Any]) -> str | None:
    """standalone, sentinel or cluster, in Redis's or Valkey's words."""
    found: str | None = info.get("redis_mode") or info.get("server_mode")
    return found


async def _first_answer(redis: Redis, stop: asyncio.Event) -> dict[str, Any] | UnavailableError:
    """What the server says of itself, as soon as it has started; or why it says nothing."""
    while True:
        try:
            with translated():
                found: dict[str, Any] = await redis.info("server")
            return found
        except UnavailableError as error:
            if error.kind not in STARTING or stop.is_set():
                return error
            log.info("waiting for Redis to start", kind=error.kind)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.5)
