"""Settling on real servers: verdict and ack are one, once, and no refusal loses anything."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from filterd.entries import DeadLetter
from filterd.errors import UnavailableError
from filterd.streams.connection import connect
from filterd.streams.consumer import watermark_key
from filterd.streams.settling import Settler
from tests.streams.rooms import Room, answers, idle


def dead(id_: str) -> DeadLetter:
    return DeadLetter(id_, "no-text", "the entry has no field 'text'", 2)


async def exact(redis: Redis, stream: str) -> list[list[bytes]]:
    """Every entry's names and values in order, doubled names included."""
    script = """
        local found = redis.call('XRANGE', KEYS[1], '-', '+')
        for i, entry in ipairs(found) do found[i] = entry[2] end
        return found"""
    found: list[list[bytes]] = await redis.eval(script, 1, stream)
    return found


async def test_verdict_and_ack_are_one(room: Room) -> None:
    ids = await room.delivered("a", "b")
    settled = await room.settler().settle(answers(ids))
    assert (len(settled.settled), settled.lost, settled.refused) == (2, (), ())
    assert settled.refusal is None
    assert await room.pending() == {}
    seconds, micros = await room.redis.time()
    assert 0 <= seconds * 1000 + micros / 1000 - settled.at_ms < 60_000
    (first, _) = await room.redis.xrange(room.output)
    assert first[1] == {
        b"entry": ids[0].encode(),
        b"label": b"spam",
        b"score": b"0.750000",
        b"threshold": b"0.5",
        b"model": b"m",
        b"at": b"%d" % settled.at_ms,
    }


async def test_settled_twice_is_written_once(room: Room) -> None:
    ids = await room.delivered("a", "b")
    await room.settler().settle(answers(ids[:1]))
    again = await room.settler().settle([*answers(ids), dead(ids[0])])
    assert [outcome.entry_id for outcome in again.settled] == ids[1:]
    assert [outcome.entry_id for outcome in again.lost] == [ids[0], ids[0]]
    assert await room.redis.xlen(room.output) == 2
    assert await room.redis.exists(room.dead) == 0


async def test_two_who_settle_at_once_settle_once(room: Room) -> None:
    ids = await room.delivered(*map(str, range(50)))
    both = await asyncio.gather(*(room.settler().settle(answers(ids)) for _ in range(2)))
    assert sum(len(settled.settled) for settled in both) == 50
    assert sum(len(settled.lost) for settled in both) == 50
    assert await room.redis.xlen(room.output) == 50


async def test_entry_of_another_consumer_is_settled_too(room: Room) -> None:
    ids = await room.delivered("text", name="late")
    await idle(room, ids, owner="other")
    assert len((await room.settler().settle(answers(ids))).settled) == 1


async def test_verdict_of_a_deleted_entry_is_written(room: Room) -> None:
    ids = await room.delivered("text", "no text")
    await room.redis.xdel(room.input, *ids)
    settled = await room.settler().settle([*answers(ids[:1]), dead(ids[1])])
    assert len(settled.settled) == 2
    assert b"at" in (await exact(room.redis, room.dead))[0]


async def test_output_of_the_wrong_type_loses_nothing(room: Room) -> None:
    ids = await room.delivered("a", "b", "c")
    await room.redis.set(room.output, "no stream")
    settled = await room.settler().settle([*answers(ids[:2]), dead(ids[2])])
    assert [outcome.entry_id for outcome in settled.refused] == ids[:2]
    assert [outcome.entry_id for outcome in settled.settled] == ids[2:]
    assert settled.refusal is not None
    assert settled.refusal.kind == "wrongtype"
    assert list(await room.pending()) == ids[:2]
    await room.redis.delete(room.output)
    again = await room.settler().settle(answers(ids))
    assert (len(again.settled), len(again.lost)) == (2, 1)
    assert await room.redis.xlen(room.output) == 2


async def test_full_memory_loses_nothing(room: Room) -> None:
    ids = await room.delivered("a", "b")
    await room.redis.config_set("maxmemory", "1")
    try:
        settled = await room.settler().settle([*answers(ids[:1]), dead(ids[1])])
    finally:
        await room.redis.config_set("maxmemory", "0")
    assert len(settled.refused) == 2
    assert settled.refusal is not None
    assert settled.refusal.kind == "oom"
    assert list(await room.pending()) == ids
    assert len((await room.settler().settle(answers(ids))).settled) == 2


@asynccontextmanager
async def user_with(room: Room, url: str, *rights: str) -> AsyncIterator[Redis]:
    """A client of a user who has only these rights."""
    await room.redis.execute_command("ACL", "SETUSER", room.prefix, "on", ">pw", *rights)
    limited = connect(url)
    try:
        await limited.execute_command("AUTH", room.prefix, "pw")
        yield limited
    finally:
        await limited.aclose()
        await room.redis.execute_command("ACL", "DELUSER", room.prefix)


async def test_output_without_the_right_to_add_loses_nothing(room: Room, redis_url: str) -> None:
    ids = await room.delivered("text")
    async with user_with(room, redis_url, "~*", "+@all", "-xadd") as limited:
        settler = Settler(limited, "g", (room.input, room.output, room.dead), 10)
        settled = await settler.settle(answers(ids))
    assert [outcome.entry_id for outcome in settled.refused] == ids
    assert settled.refusal is not None
    assert settled.refusal.kind == "noperm"
    assert list(await room.pending()) == ids
    assert len((await room.settler().settle(answers(ids))).settled) == 1


async def test_output_without_the_right_to_its_key_loses_nothing(
    room: Room, redis_url: str
) -> None:
    ids = await room.delivered("text")
    keys = (f"~{room.input}", f"~{room.dead}", f"~{watermark_key(room.input, 'g')}")
    async with user_with(room, redis_url, *keys, "+@all") as limited:
        settler = Settler(limited, "g", (room.input, room.output, room.dead), 10)
        with pytest.raises(UnavailableError) as caught:
            await settler.settle(answers(ids))
    assert caught.value.kind == "noperm"
    assert list(await room.pending()) == ids
    assert len((await room.settler().settle(answers(ids))).settled) == 1


async def test_without_the_right_to_ack_nothing_is_added(room: Room, redis_url: str) -> None:
    ids = await room.delivered("text")
    async with user_with(room, redis_url, "~*", "+@all", "-xack") as limited:
        settler = Settler(limited, "g", (room.input, room.output, room.dead), 10)
        for _ in range(2):
            with pytest.raises(UnavailableError) as caught:
                await settler.settle(answers(ids))
            assert caught.value.kind == "noperm"
    assert await room.redis.xlen(room.output) == 0
    assert list(await room.pending()) == ids


async def test_verdicts_are_trimmed_to_about_their_number(room: Room) -> None:
    ids = await room.delivered(*map(str, range(400)))
    settler = room.settler(most=100)
    for first in range(0, 400, 50):
        await settler.settle(answers(ids[first : first + 50]))
    assert 100 <= await room.redis.xlen(room.output) <= 200


async def dead_letter_of(room: Room, *parts: bytes) -> list[bytes]:
    """What a dead letter says after its own fields: the entry's, copied."""
    await room.redis.execute_command("XADD", room.input, "*", *parts)
    consumer = room.consumer()
    await consumer.ensure_group()
    (entry,) = await consumer.read()
    settled = await room.settler().settle([dead(entry.id)])
    assert len(settled.settled) == 1
    assert await room.pending() == {}
    (fields,) = await exact(room.redis, room.dead)
    assert fields[:10] == [
        *(b"entry", entry.id.encode()),
        *(b"reason", b"no-text"),
        *(b"detail", b"the entry has no field 'text'"),
        *(b"deliveries", b"2"),
        *(b"at", b"%d" % settled.at_ms),
    ]
    return fields[10:]


async def test_dead_letter_copies_every_byte(room: Room) -> None:
    every = bytes(range(256))
    copied = await dead_letter_of(
        room, *(b"name", every), *(every, b"value"), *(b"", b""), *(b"same", b"1", b"same", b"2")
    )
    assert copied == [
        *(b"field:name", every),
        *(b"field:" + every, b"value"),
        *(b"field:", b""),
        *(b"field:same", b"1", b"field:same", b"2"),
    ]


@pytest.mark.parametrize("count", [3500, 3501, 5000])
async def test_dead_letter_of_thousands_of_fields(room: Room, count: int) -> None:
    parts = [part for n in range(count) for part in (b"\xff%d" % n, bytes([n % 256]) * (n % 300))]
    copied = await dead_letter_of(room, *parts)
    kept = 2 * 3500
    assert copied[:kept:2] == [b"field:" + name for name in parts[:kept:2]]
    assert copied[1:kept:2] == parts[1:kept:2]
    if count == 3500:
        assert copied[kept:] == []
    else:
        name, rest = copied[kept:]
        assert name == b"fields:rest"
        assert unpacked(rest) == parts[kept:]


def unpacked(data: bytes) -> list[bytes]:
    """A MessagePack array of raw strings."""
    long_array = data[0] == 0xDD
    count = struct.unpack_from(">I" if long_array else ">H", data, 1)[0] if data[0] >= 0xDC else 0
    at = (5 if long_array else 3) if count else 1
    count = count or data[0] & 0x0F
    found = []
    for _ in range(count):
        head = data[at]
        wide = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}.get(head)
        length = struct.unpack_from(wide, data, at + 1)[0] if wide else head & 0x1F
        at += 1 + (struct.calcsize(wide) if wide else 0)
        found.append(data[at : at + length])
        at += length
    assert at == len(data)
    return found
