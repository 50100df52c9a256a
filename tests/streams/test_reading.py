"""Reading on real servers: within its bounds, and only what is wanted."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from filterd.entries import RawEntry
from filterd.streams import consumer as consumers
from filterd.streams.consumer import Consumer, until_next_look_s
from tests.streams.rooms import Room


async def test_read_is_bounded_by_entries(room: Room) -> None:
    ids = await room.publish(*map(str, range(7)))
    consumer = room.consumer(most_entries=3)
    await consumer.ensure_group()
    reads = [[entry.id for entry in await consumer.read()] for _ in range(4)]
    assert reads == [ids[:3], ids[3:6], ids[6:], []]


async def test_read_ends_with_the_entry_that_reaches_its_bytes(room: Room) -> None:
    await room.publish(*("x" * 46 for _ in range(5)))  # 50 bytes with the field's name
    consumer = room.consumer(most_bytes=101)
    await consumer.ensure_group()
    assert [len(await consumer.read()) for _ in range(2)] == [3, 2]


async def test_unwanted_fields_stay_on_the_server(room: Room) -> None:
    fields = {"image": "x" * 5000, "text": "hello", "id": "7", "\xff": "y"}
    await room.redis.xadd(room.input, fields)
    consumer = room.consumer()
    await consumer.ensure_group()
    (entry,) = await consumer.read()
    assert entry.fields == ((b"text", b"hello"), (b"id", b"7"))
    assert (entry.size, entry.deliveries) == (4 + 5 + 2 + 1, 1)


async def test_oversized_entry_is_measured_and_not_read(room: Room) -> None:
    await room.publish("x" * 996, "x" * 997, b"\x00" * 50_000)
    consumer = room.consumer(entry_bytes=1000)
    await consumer.ensure_group()
    entries = await consumer.read()
    assert [(len(entry.fields), entry.size) for entry in entries] == [
        (1, 1000),
        (0, 1001),
        (0, 50_004),
    ]


async def test_all_bytes_that_pass_the_server_count(room: Room) -> None:
    await room.publish(*("x" * 5000 for _ in range(4)))
    consumer = room.consumer(entry_bytes=1000, most_bytes=7500)
    await consumer.ensure_group()
    assert len(await consumer.read()) == 2


async def test_of_a_doubled_name_the_last_value_counts(room: Room) -> None:
    await room.redis.execute_command(
        "XADD", room.input, "*", "text", "first", "a", "b", "text", "last"
    )
    consumer = room.consumer()
    await consumer.ensure_group()
    (entry,) = await consumer.read()
    assert entry.fields == ((b"text", b"last"),)
    assert entry.size == 8


async def test_no_read_brings_a_body_of_any_size(room: Room) -> None:
    consumer = room.consumer(entry_bytes=1000)
    await consumer.ensure_group()
    reading = asyncio.create_task(_first(consumer))  # it waits for what comes
    before = (await room.redis.info("stats"))["total_net_output_bytes"]
    await room.publish(b"x" * 20_000_000)
    entry = await reading
    assert (entry.fields, entry.size) == ((), 20_000_004)
    after = (await room.redis.info("stats"))["total_net_output_bytes"]
    assert after - before < 1_000_000


async def _first(consumer: Consumer) -> RawEntry:
    while not (entries := await consumer.read()):
        pass
    return entries[0]


@given(st.floats(0, 10**6))
def test_the_longer_nothing_came_the_longer_until_the_next_look(idle_s: float) -> None:
    pause = until_next_look_s(idle_s)
    assert consumers.SHORTEST_PAUSE_S <= pause <= consumers.LONGEST_PAUSE_S
    assert pause <= max(idle_s / 8, consumers.SHORTEST_PAUSE_S)
