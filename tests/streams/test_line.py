"""The line that a reader is woken on: by whom, when, and what becomes of who is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis as blocking
from redis.asyncio import Redis

from filterd.entries import RawEntry
from filterd.errors import UnavailableError
from filterd.streams import consumer as consumers
from filterd.streams.connection import connect
from filterd.streams.consumer import Consumer, ReadConfig
from filterd.streams.line import Line
from filterd.streams.scripts import Script
from tests.servers import RedisServer

HOUR_S = 3600.0
SOON_S = 30.0


@pytest.fixture(autouse=True)
def looking_would_take_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that who gets an entry was woken."""
    monkeypatch.setattr(consumers, "WOKEN_PAUSE_S", HOUR_S)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    made = connect(redis_url)
    yield made
    await made.aclose()


@pytest.fixture
async def publisher(redis_url: str) -> AsyncIterator[Redis]:
    made = connect(redis_url)
    yield made
    await made.aclose()


async def reader(redis: Redis, stream: str, name: str = "me") -> Consumer:
    made = Consumer(redis, ReadConfig(stream, "g", name, (b"text",), 1000))
    await made.ensure_group()
    return made


async def next_of(consumer: Consumer) -> list[RawEntry]:
    """The next entries, which somebody has yet to add."""
    async with asyncio.timeout(SOON_S):
        while not (entries := await consumer.read()):
            pass
    return entries


async def waits(redis: Redis) -> None:
    """Until somebody whom the server wakes has looked at a stream."""

    def looked(client: dict[str, str]) -> bool:
        return "t" in client["flags"] and client["cmd"] == "evalsha"

    while not any(looked(client) for client in await redis.client_list()):
        pass


async def test_each_entry_wakes_who_waits(redis: Redis, publisher: Redis, prefix: str) -> None:
    consumer = await reader(redis, prefix)
    for number in range(20):
        reading = asyncio.create_task(next_of(consumer))
        if number % 2:
            await waits(publisher)
        added = await publisher.xadd(prefix, {"text": "hello"})
        assert [entry.id for entry in await reading] == [added.decode()]
    assert consumer.woken


async def test_all_who_wait_are_woken(redis: Redis, publisher: Redis, prefix: str) -> None:
    readings = []
    for number in range(3):
        consumer = await reader(redis, prefix, f"consumer-{number}")
        readings.append(asyncio.create_task(next_of(consumer)))
    for _ in readings:
        await waits(publisher)
        await publisher.xadd(prefix, {"text": "hello"})
        await asyncio.wait(readings, return_when=asyncio.FIRST_COMPLETED)
        readings = [reading for reading in readings if not reading.done()]
    assert readings == []


async def test_what_comes_between_the_look_and_the_wait_is_no_surprise(
    redis: Redis, publisher: Redis, prefix: str
) -> None:
    await redis.xgroup_create(prefix, "g", mkstream=True)
    line, script = Line(redis, tracking=True), Script(redis, "read")
    args = ("g", "me", 2, 1000, 1000, b"text")
    for _ in range(20):
        assert await line.run(script, [prefix], args) == [1]
        await publisher.xadd(prefix, {"text": "hello"})
        async with asyncio.timeout(SOON_S):
            await line.wait(HOUR_S)
        assert len(await line.run(script, [prefix], args)) == 2  # type: ignore[arg-type]


async def test_a_word_that_comes_with_an_answer_is_not_taken_for_it(
    redis: Redis, publisher: Redis, prefix: str
) -> None:
    await redis.xgroup_create(prefix, "g", mkstream=True)
    line, script = Line(redis, tracking=True), Script(redis, "read")
    args = ("g", "me", 2, 1000, 1000, b"text")
    for _ in range(20):
        assert await line.run(script, [prefix], args) == [1]
        await publisher.xadd(prefix, {"text": "hello"})
        assert len(await line.run(script, [prefix], args)) == 2  # type: ignore[arg-type]


async def test_a_line_that_was_cut_is_woken_again(
    redis: Redis, publisher: Redis, prefix: str
) -> None:
    consumer = await reader(redis, prefix)
    reading = asyncio.create_task(next_of(consumer))
    await waits(publisher)
    await publisher.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(UnavailableError):
        await reading
    reading = asyncio.create_task(next_of(consumer))
    await waits(publisher)
    await publisher.xadd(prefix, {"text": "hello"})
    assert len(await reading) == 1


async def test_who_may_not_be_woken_looks(redis: Redis, publisher: Redis, prefix: str) -> None:
    user = (prefix, "reset", "on", ">pw", "~*", "+@all", "-client|tracking")
    await publisher.execute_command("ACL", "SETUSER", *user)
    consumer = await reader(redis, prefix)
    await redis.execute_command("AUTH", prefix, "pw")
    reading = asyncio.create_task(next_of(consumer))
    await publisher.xadd(prefix, {"text": "hello"})
    assert len(await reading) == 1
    assert not consumer.woken
    await publisher.execute_command("ACL", "DELUSER", prefix)


class Old(RedisServer):
    """A server that speaks no RESP3, as some proxies do not."""

    def client(self) -> blocking.Redis:
        return blocking.Redis.from_url(self.url, protocol=2)


@pytest.fixture
def old_server(debian_binary: Path, short_path: Path) -> Iterator[RedisServer]:
    config = ("--rename-command", "HELLO", "")
    with Old(debian_binary, short_path / "redis", config=config) as server:
        yield server


async def test_who_cannot_be_woken_looks(old_server: RedisServer, prefix: str) -> None:
    async with client_of(old_server) as redis, client_of(old_server) as publisher:
        consumer = await reader(redis, prefix)
        reading = asyncio.create_task(next_of(consumer))
        await publisher.xadd(prefix, {"text": "hello"})
        assert len(await reading) == 1
        assert not consumer.woken


@asynccontextmanager
async def client_of(server: RedisServer) -> AsyncIterator[Redis]:
    made = connect(server.url)
    yield made
    await made.aclose()
