"""The group on real servers: made, missing, told of, and rid of consumers long gone."""

from __future__ import annotations

import pytest

from filterd.errors import GroupMissingError, UnavailableError
from filterd.streams import consumer as consumers
from filterd.streams.connection import connect
from filterd.streams.consumer import Consumer, ReadConfig
from tests.streams.rooms import Room, answers, texts


async def test_group_begins_at_the_streams_beginning(room: Room) -> None:
    await room.publish("before the group")
    consumer = room.consumer()
    assert await consumer.ensure_group()
    assert not await consumer.ensure_group()
    assert texts(await consumer.read()) == [b"before the group"]


async def test_group_makes_its_stream(room: Room) -> None:
    assert await room.consumer().ensure_group()
    assert await room.consumer().read() == []


async def test_missing_group_is_told_apart(room: Room) -> None:
    consumer = room.consumer()
    calls = [consumer.read, lambda: consumer.claim("-", 0, ()), consumer.reap]
    calls += [lambda: consumer.renew(["1-0"]), lambda: room.settler().settle(answers(["1-0"]))]
    await room.publish("text")
    for call in calls:
        with pytest.raises(GroupMissingError):
            await call()


async def test_stream_of_another_type_is_a_refusal(room: Room) -> None:
    await room.redis.set(room.input, "no stream")
    for call in (room.consumer().ensure_group, room.consumer().read, room.trimmer().trim):
        with pytest.raises(UnavailableError, match="WRONGTYPE") as caught:
            await call()
        assert caught.value.kind == "wrongtype"


async def test_scripts_survive_that_the_server_forgets_them(room: Room) -> None:
    (id_,) = await room.delivered("text")
    await room.redis.script_flush()
    settled = await room.settler().settle(answers([id_]))
    assert len(settled.settled) == 1


async def test_only_consumers_that_are_long_gone_are_removed(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    (id_,) = await room.delivered("text", name="holds")
    for name in ("me", "gone"):
        await room.redis.xgroup_createconsumer(room.input, "g", name)
    assert await room.consumer().reap() == 0
    monkeypatch.setattr(consumers, "FORGET_CONSUMERS_MS", 0)
    assert await room.consumer().reap() == 1
    names = {info["name"] for info in await room.redis.xinfo_consumers(room.input, "g")}
    assert names == {b"holds", b"me"}
    assert list(await room.pending()) == [id_]


async def test_status_of_a_group(room: Room) -> None:
    await room.publish("a")
    missing = await room.consumer().status()
    assert (missing.lag, missing.pending) == (None, 0)
    await room.redis.delete(room.input)
    await room.redis.xadd(room.input, {"text": "old"}, id="1000-0")
    await room.publish("b", "c")
    consumer = room.consumer(most_entries=1)
    await consumer.ensure_group()
    status = await consumer.status()
    assert (status.lag, status.pending, status.oldest_pending_s) == (3, 0, 0.0)
    assert status.oldest_undelivered_s > 1e9
    await consumer.read()
    status = await consumer.status()
    assert (status.lag, status.pending) == (2, 1)
    assert status.oldest_pending_s > 1e9
    assert 0 <= status.oldest_undelivered_s < 60


async def test_a_lag_that_the_server_does_not_know_is_none(room: Room) -> None:
    consumer = room.consumer(most_entries=1)
    await consumer.ensure_group()
    ids = await room.publish("a", "b", "c", "d")
    await consumer.read()
    await room.redis.xdel(room.input, ids[2])
    status = await consumer.status()
    assert status.lag is None
    assert status.pending == 1
    assert status.oldest_undelivered_s >= 0


async def test_nothing_waiting_has_no_age(room: Room) -> None:
    await room.settler().settle(answers(await room.delivered("a")))
    status = await room.consumer().status()
    assert (status.lag, status.pending) == (0, 0)
    assert (status.oldest_pending_s, status.oldest_undelivered_s) == (0.0, 0.0)


async def test_no_server_is_unavailable() -> None:
    redis = connect("unix:///nowhere/at/all.sock")
    consumer = Consumer(redis, ReadConfig("in", "g", "me", (b"text",), 10))
    for call in (consumer.ensure_group, consumer.read, consumer.reap, consumer.status):
        with pytest.raises(UnavailableError) as caught:
            await call()
        assert caught.value.kind == "away"
    await redis.aclose()
