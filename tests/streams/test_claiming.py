"""Claiming and renewing on real servers: only what is idle, suspects alone, to the end."""

from __future__ import annotations

from tests.streams.rooms import HOUR_MS, Room, idle, texts


async def test_only_idle_entries_are_claimed(room: Room) -> None:
    ids = await room.delivered("busy", "idle", "busy too")
    await idle(room, ids[1:2])
    claimed = await room.consumer().claim("-", HOUR_MS // 2, ())
    assert texts(claimed.entries) == [b"idle"]
    assert claimed.entries[0].deliveries == 2
    assert (claimed.cursor, claimed.gone) == ("", ())
    pending = await room.pending()
    assert pending[ids[1]] == ("me", 2)
    assert pending[ids[0]] == ("me", 1)


async def test_claimed_entry_is_idle_no_more(room: Room) -> None:
    ids = await room.delivered("text")
    await idle(room, ids)
    assert len((await room.consumer("one").claim("-", HOUR_MS // 2, ())).entries) == 1
    assert len((await room.consumer("two").claim("-", HOUR_MS // 2, ())).entries) == 0


async def test_cursor_goes_on_to_the_end(room: Room) -> None:
    ids = await room.delivered(*map(str, range(10)))
    await idle(room, ids)
    consumer, cursor, found = room.consumer(most_entries=3), "-", []
    for _ in range(4):
        claimed = await consumer.claim(cursor, 0, ())
        found += [entry.id for entry in claimed.entries]
        cursor = claimed.cursor
    assert (found, cursor) == (ids, "")


async def test_claim_is_bounded_by_bytes(room: Room) -> None:
    ids = await room.delivered(*("x" * 46 for _ in range(5)))
    await idle(room, ids)
    consumer = room.consumer(most_bytes=101)
    first = await consumer.claim("-", 0, ())
    assert len(first.entries) == 3
    rest = await consumer.claim(first.cursor, 0, ())
    assert [entry.id for entry in rest.entries] == ids[3:]


async def test_what_is_in_flight_here_is_left_alone(room: Room) -> None:
    ids = await room.delivered(*map(str, range(6)))
    await idle(room, ids, owner="me")
    claimed = await room.consumer(most_entries=4).claim("-", 0, ids[:3])
    assert [entry.id for entry in claimed.entries] == ids[3:4]
    rest = await room.consumer(most_entries=4).claim(claimed.cursor, 0, ids[:3])
    assert [entry.id for entry in rest.entries] == ids[4:]
    pending = await room.pending()
    assert [pending[id_] for id_ in ids] == [("me", 1)] * 3 + [("me", 2)] * 3


async def test_only_one_consumers_entries_are_claimed_where_asked(room: Room) -> None:
    ids = await room.delivered("mine", "theirs", "mine too")
    await idle(room, ids[1:2])
    claimed = await room.consumer().claim("-", 0, (), whose="me")
    assert texts(claimed.entries) == [b"mine", b"mine too"]
    assert (await room.pending())[ids[1]] == ("other", 1)


async def test_suspects_are_claimed_alone(room: Room) -> None:
    ids = await room.delivered(*"abcde")
    await idle(room, ids)
    await idle(room, [ids[0], ids[2], ids[3]], deliveries=2)
    consumer, cursor, batches = room.consumer(alone_after=2), "-", []
    while True:
        claimed = await consumer.claim(cursor, 0, ())
        batches.append(b"".join(texts(claimed.entries)))
        if not claimed.cursor:
            break
        cursor = claimed.cursor
    assert batches == [b"a", b"b", b"c", b"d", b"e"]


async def test_others_are_claimed_together_before_and_after_a_suspect(room: Room) -> None:
    ids = await room.delivered(*"abcde")
    await idle(room, ids)
    await idle(room, ids[2:3], deliveries=3)
    consumer = room.consumer(alone_after=3)
    first = await consumer.claim("-", 0, ())
    second = await consumer.claim(first.cursor, 0, ())
    third = await consumer.claim(second.cursor, 0, ())
    assert [texts(part.entries) for part in (first, second, third)] == [
        [b"a", b"b"],
        [b"c"],
        [b"d", b"e"],
    ]
    assert second.entries[0].deliveries == 4


async def test_deleted_bodies_are_acked_and_told(room: Room) -> None:
    ids = await room.delivered("a", "b", "c")
    await idle(room, ids)
    await room.redis.xdel(room.input, ids[0], ids[2])
    claimed = await room.consumer().claim("-", 0, ())
    assert claimed.gone == (ids[0], ids[2])
    assert [entry.id for entry in claimed.entries] == [ids[1]]
    assert list(await room.pending()) == [ids[1]]


async def test_oversized_and_unwanted_stay_on_the_server_in_a_claim(room: Room) -> None:
    ids = await room.delivered("x" * 5000)
    await idle(room, ids)
    (entry,) = (await room.consumer().claim("-", 0, ())).entries
    assert (entry.fields, entry.size) == ((), 5004)


async def test_renewal_is_for_ones_own_and_no_delivery(room: Room) -> None:
    ids = await room.delivered("mine", "theirs", "settled", "mine, busy")
    await idle(room, ids[:3], owner="me")
    await idle(room, ids[1:2], owner="other")
    await room.redis.xack(room.input, "g", ids[2])
    assert await room.consumer().renew([*ids, "999-0"]) == 2
    assert await room.pending() == {ids[0]: ("me", 1), ids[1]: ("other", 1), ids[3]: ("me", 1)}
    claimed = await room.consumer("third").claim("-", HOUR_MS // 2, ())
    assert [entry.id for entry in claimed.entries] == [ids[1]]
