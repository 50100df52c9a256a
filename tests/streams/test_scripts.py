"""The scripts on real servers: read, claim, renew, settle, trim and reap."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from filterd.entries import Answer, DeadLetter, Entry, Outcome, RawEntry, Verdict
from filterd.errors import GroupMissingError, UnavailableError
from filterd.streams import consumer as consumers
from filterd.streams.connection import connect
from filterd.streams.consumer import (
    Consumer,
    ReadConfig,
    before,
    id_ms,
    until_next_look_s,
    watermark_key,
)
from filterd.streams.settling import Settler
from filterd.streams.trimming import Trimmer

HOUR_MS = 3_600_000
OLD = 300
"""Entries of 1970, three of the nodes that a stream is trimmed by."""


@dataclass
class Room:
    """Streams of one test, and who works on them."""

    redis: Redis
    prefix: str

    @property
    def input(self) -> str:
        return f"{self.prefix}:in"

    @property
    def output(self) -> str:
        return f"{self.prefix}:out"

    @property
    def dead(self) -> str:
        return f"{self.prefix}:dead"

    def consumer(self, name: str = "me", group: str = "g", **limits: int) -> Consumer:
        config = {"entry_bytes": 1000} | limits
        wanted = (b"text", b"id")
        return Consumer(self.redis, ReadConfig(self.input, group, name, wanted, **config))

    def settler(self, group: str = "g", most: int = 1000) -> Settler:
        return Settler(self.redis, group, (self.input, self.output, self.dead), most)

    def trimmer(self, retention_s: float = 0.0) -> Trimmer:
        return Trimmer(self.redis, self.input, "g", retention_s)

    async def publish(self, *texts: bytes | str) -> list[str]:
        return [(await self.redis.xadd(self.input, {"text": text})).decode() for text in texts]

    async def numbered(self, count: int) -> list[str]:
        """Entries of 1970, by ids that say how many there are."""
        for number in range(1, count + 1):
            await self.redis.xadd(self.input, {"text": str(number)}, id=f"{number}-0")
        return [f"{number}-0" for number in range(1, count + 1)]

    async def delivered(self, *texts: bytes | str, name: str = "me") -> list[str]:
        """Publish and deliver, so that the entries are pending."""
        ids = await self.publish(*texts)
        consumer = self.consumer(name)
        await consumer.ensure_group()
        assert [entry.id for entry in await consumer.read()] == ids
        return ids

    async def pending(self, group: str = "g") -> dict[str, tuple[str, int]]:
        """Whose each pending entry is, and how often it was delivered."""
        rows = await self.redis.xpending_range(self.input, group, "-", "+", 10_000)
        return {
            row["message_id"].decode(): (row["consumer"].decode(), row["times_delivered"])
            for row in rows
        }

    async def ids(self, stream: str | None = None) -> list[str]:
        return [id_.decode() for id_, _ in await self.redis.xrange(stream or self.input)]


@pytest.fixture
async def room(redis_url: str, prefix: str) -> AsyncIterator[Room]:
    redis = connect(redis_url)
    yield Room(redis, prefix)
    await redis.delete(*[key async for key in redis.scan_iter(f"*{prefix}*")], prefix)
    await redis.aclose()


def answers(ids: Sequence[str]) -> list[Outcome]:
    verdict = Verdict.decide(0.75, 0.5, "m")
    return [Answer(Entry(id_, "text", None, ()), verdict) for id_ in ids]


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


def texts(entries: Sequence[RawEntry]) -> list[bytes]:
    return [dict(entry.fields)[b"text"] for entry in entries]


# --- the group ------------------------------------------------------------------------------


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


# --- read -----------------------------------------------------------------------------------


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


# --- claim and renew ------------------------------------------------------------------------


async def idle(room: Room, ids: Sequence[str], owner: str = "other", deliveries: int = 1) -> None:
    """Make pending entries another's, an hour idle."""
    await room.redis.xclaim(
        room.input, "g", owner, 0, list(ids), idle=HOUR_MS, retrycount=deliveries, justid=True
    )


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


# --- settle ---------------------------------------------------------------------------------


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


# --- the watermark --------------------------------------------------------------------------


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


# --- trim, reap, status ---------------------------------------------------------------------


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


async def test_nothing_is_trimmed_while_the_group_is_gone(room: Room) -> None:
    ids = await room.delivered(*map(str, range(300)))
    await room.redis.xgroup_destroy(room.input, "g")
    assert await room.trimmer(0).trim() == 0
    assert await room.redis.xlen(room.input) == len(ids)
