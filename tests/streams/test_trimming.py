"""Trimming on real servers: what is settled goes after a while, all else stays."""

from __future__ import annotations

import pytest

from tests.streams.rooms import Room, answers

OLD = 300
"""Entries of 1970, three of the nodes that a stream is trimmed by."""


async def test_settled_entries_are_trimmed_after_the_retention(room: Room) -> None:
    ids = await room.numbered(OLD)
    recent = await room.publish("recent")
    consumer = room.consumer()
    await consumer.ensure_group()
    await room.settler().settle(answers([entry.id for entry in await consumer.read()]))
    assert await room.trimmer(retention_s=3600).trim() >= OLD - 100
    assert (await room.ids())[-1:] == recent
    assert await room.trimmer(retention_s=10**9 * 3).trim() == 0
    assert not set(await room.ids()) - {*ids, *recent}


@pytest.mark.parametrize("first_pending", [1, 99, 100, 101, 250, 300])
async def test_pending_entries_are_never_trimmed(room: Room, first_pending: int) -> None:
    ids = await room.numbered(OLD)
    consumer = room.consumer()
    await consumer.ensure_group()
    await consumer.read()
    settled = [id_ for n, id_ in enumerate(ids, 1) if n < first_pending or n % 2]
    settled = [id_ for id_ in settled if id_ != f"{first_pending}-0"]
    await room.settler().settle(answers(settled))
    went = await room.trimmer().trim()
    assert await room.ids() == ids[went:]
    assert went < first_pending
    assert went >= first_pending - 1 - 100


async def test_other_groups_pending_and_undelivered_are_never_trimmed(room: Room) -> None:
    ids = await room.numbered(OLD)
    await room.consumer().ensure_group()
    await room.settler().settle(answers([entry.id for entry in await room.consumer().read()]))
    other = room.consumer(group="lags", most_entries=150)
    await other.ensure_group()
    assert await room.trimmer().trim() == 0
    await other.read()
    assert await room.trimmer().trim() == 0
    await room.redis.xack(room.input, "lags", *ids[:149])
    assert await room.trimmer().trim() == 100
    await room.redis.xack(room.input, "lags", ids[149])
    await room.trimmer().trim()
    assert (await room.ids())[-150:] == ids[150:]


async def test_trimming_nothing(room: Room) -> None:
    assert await room.trimmer().trim() == 0
    await room.consumer().ensure_group()
    assert await room.trimmer().trim() == 0


async def test_wide_ids_are_compared_as_numbers(room: Room) -> None:
    for ms in (9, 10, 99, 100, 2**53, 2**53 + 1):
        await room.redis.xadd(room.input, {"text": "t"}, id=f"{ms}-{2**64 - 2}")
    consumer = room.consumer(most_entries=1)
    await consumer.ensure_group()
    for _ in range(5):
        assert await room.trimmer().trim() == 0
        await consumer.read()


async def test_nothing_is_trimmed_while_the_group_is_gone(room: Room) -> None:
    ids = await room.delivered(*map(str, range(300)))
    await room.redis.xgroup_destroy(room.input, "g")
    assert await room.trimmer(0).trim() == 0
    assert await room.redis.xlen(room.input) == len(ids)
