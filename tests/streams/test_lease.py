"""The lease of a consumer's name: one process at a time, and soon free after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from filterd.errors import SettingsError
from filterd.streams import lease as leases
from filterd.streams.connection import connect
from filterd.streams.lease import Lease, held


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LEASE_MS", 1000), ("RENEW_S", 0.05), ("LOOK_S", 0.02)):
        monkeypatch.setattr(leases, name, value)


async def test_a_name_that_is_renewed_is_refused_and_one_given_back_is_free(
    redis: Redis, prefix: str
) -> None:
    stop = asyncio.Event()
    one, two = (Lease(redis, prefix, "g", "me") for _ in range(2))
    other = Lease(redis, prefix, "g", "you")
    async with held(one, stop), held(other, stop):
        with pytest.raises(SettingsError, match="runs as consumer me of group g already"):
            async with held(two, stop):
                raise AssertionError("held by two")
    async with held(two, stop):
        pass
    assert not await redis.exists(f"{{{prefix}}}:consumer:g:me")


async def test_what_a_crash_left_is_taken_over_and_who_comes_back_ends(
    redis: Redis, prefix: str
) -> None:
    one, two = (Lease(redis, prefix, "g", "me") for _ in range(2))
    await one.take()  # and never renewed: as after kill -9, or while it is stopped
    await two.take()
    with pytest.raises(SettingsError, match="already"):
        async with asyncio.timeout(10):
            await one.keep()
    await one.drop()  # which is no longer its own
    assert await redis.exists(f"{{{prefix}}}:consumer:g:me")


async def test_who_loses_the_name_stops_what_it_does(redis: Redis, prefix: str) -> None:
    async def work() -> None:
        async with held(Lease(redis, prefix, "g", "me"), asyncio.Event()):
            await redis.set(f"{{{prefix}}}:consumer:g:me", "there process 7 abc")
            await asyncio.sleep(60)

    with pytest.raises(SettingsError, match="process 7 runs as consumer me"):
        await work()
