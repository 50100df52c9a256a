"""The watermark: from where a group that was deleted is made again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from filterd.streams.consumer import before, id_ms, watermark_key
from tests.streams.rooms import Room, answers, texts


async def mark(room: Room) -> str:
    return (await room.redis.get(watermark_key(room.input, "g"))).decode()


async def test_watermark_is_the_lowest_pending_else_the_last_delivered(room: Room) -> None:
    ids = await room.delivered("a", "b", "c")
    await room.publish("undelivered")
    settler = room.settler()
    await settler.settle(answers(ids[1:2]))
    assert await mark(room) == f"({ids[0]}"
    await settler.settle(answers(ids[:1]))
    assert await mark(room) == f"({ids[2]}"
    await settler.settle(answers(ids[2:]))
    assert await mark(room) == ids[2]


async def test_deleted_group_is_made_again_from_the_watermark(room: Room) -> None:
    ids = await room.delivered(*"abcd")
    await room.publish("e")
    await room.settler().settle(answers([ids[0], ids[1], ids[3]]))
    await room.redis.xgroup_destroy(room.input, "g")
    consumer = room.consumer()
    assert await consumer.ensure_group()
    assert texts(await consumer.read()) == [b"c", b"d", b"e"]  # d repeats: it was above c


async def test_settled_group_is_made_again_after_its_last(room: Room) -> None:
    await room.settler().settle(answers(await room.delivered("a", "b")))
    await room.publish("new")
    await room.redis.xgroup_destroy(room.input, "g")
    await room.consumer().ensure_group()
    assert texts(await room.consumer().read()) == [b"new"]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_before_is_the_id_next_below(ms: int, seq: int) -> None:
    low = tuple(map(int, before(f"({ms}-{seq}").split("-")))
    if (ms, seq) == (0, 0):
        assert low == (0, 0)
    else:
        assert low[0] * 2**64 + low[1] == ms * 2**64 + seq - 1
    assert before(f"{ms}-{seq}") == f"{ms}-{seq}"
    assert id_ms(f"{ms}-{seq}") == ms


def test_watermark_shares_the_streams_slot() -> None:
    assert watermark_key("in", "g") == "{in}:watermark:g"
    assert watermark_key("{sms}:in", "g") == "{sms}:in:watermark:g"
