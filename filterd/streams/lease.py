"""The lease of a consumer's name: two daemons under one name would ack each other's work.

A key in the stream's slot names the process that has the name. It is renewed while that lives, and
expires soon after a crash. Settling is safe without it, because it asks what is pending and not
whose that is; but whoever starts under a name takes over at once what is pending under it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from uuid import uuid4

import structlog
from redis.asyncio import Redis

from filterd.errors import SettingsError, UnavailableError
from filterd.streams.consumer import slot_tag
from filterd.streams.scripts import Script

log = structlog.get_logger()

LEASE_MS = 3000
RENEW_S = 0.75
LOOK_S = 0.2
"""How often somebody who waits for a name looks."""


def lease_key(stream: str, group: str, consumer: str) -> str:
    """Where it stands who has a name; in a cluster it shares the stream's slot."""
    return f"{slot_tag(stream)}:consumer:{group}:{consumer}"


class Lease:
    """One process's right to a consumer's name in a group."""

    def __init__(self, redis: Redis, stream: str, group: str, consumer: str) -> None:
        self._script = Script(redis, "lease")
        self._key = lease_key(stream, group, consumer)
        self._token = f"{socket.gethostname()} process {os.getpid()} {uuid4().hex[:8]}"
        self._what = f"consumer {consumer} of group {group}"

    async def take(self) -> None:
        """Take the name; one that a crashed process left is free a few seconds later.

        Raises SettingsError where a living process renews it, UnavailableError.
        """
        least = LEASE_MS
        while True:
            holder, left_ms = await self._ask("take")
            if holder == self._token:
                return
            if left_ms > least:
                raise self._refusal(holder)
            least = left_ms
            await asyncio.sleep(LOOK_S)

    async def keep(self) -> None:
        """Renew it for ever. Raises SettingsError where another process has taken it."""
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                holder, _ = await self._ask("take")
            except UnavailableError:
                continue  # nobody else can take it either, but when it expires meanwhile
            if holder != self._token:
                raise self._refusal(holder)

    async def drop(self) -> None:
        """Give it back, so that the next process need not wait."""
        await self._ask("drop")

    async def _ask(self, what: str) -> tuple[str, int]:
        reply = cast("list[Any]", await self._script([self._key], [self._token, LEASE_MS, what]))
        return reply[0].decode(errors="replace"), int(reply[1])

    def _refusal(self, holder: str) -> SettingsError:
        who = holder.rpartition(" ")[0] or "another"
        return SettingsError(
            f"{who} runs as {self._what} already: give each daemon its own FILTERD_CONSUMER"
        )


@asynccontextmanager
async def held(lease: Lease, stop: asyncio.Event) -> AsyncIterator[None]:
    """Hold a lease while the block runs. Where it is lost, the block is cancelled.

    Raises SettingsError where another process has the name, or takes it; UnavailableError where
    Redis refuses until it is time to stop.
    """
    await _take(lease, stop)
    body = asyncio.current_task()
    keeping = asyncio.create_task(lease.keep())
    keeping.add_done_callback(lambda _: None if keeping.cancelled() or not body else body.cancel())
    try:
        yield
    except asyncio.CancelledError:
        if body and keeping.done() and not keeping.cancelled():
            body.uncancel()
            keeping.result()
        raise
    finally:
        keeping.cancel()
        with suppress(UnavailableError):
            await lease.drop()


async def _take(lease: Lease, stop: asyncio.Event) -> None:
    said = ""
    while True:
        try:
            return await lease.take()
        except UnavailableError as error:
            if stop.is_set():
                raise
            if said != str(error):
                log.warning("backing off", kind=error.kind, reason=str(error))
            said = str(error)
        await asyncio.sleep(LOOK_S)
