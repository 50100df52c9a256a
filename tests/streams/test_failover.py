"""A replica is promoted: what is lost and what repeats, and that WAIT says which."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from filterd.entries import Answer, Entry, Outcome, Verdict
from filterd.errors import UnavailableError
from filterd.streams.connection import connect
from filterd.streams.consumer import Consumer, ReadConfig
from filterd.streams.scripts import Wait
from filterd.streams.settling import Settled, Settler
from tests.servers import RedisServer, in_step
from tests.waiting import eventually

NAMES = ("in", "out", "dead")
SHORT = Wait(replicas=1, timeout_ms=50)
LONG = Wait(replicas=1, timeout_ms=10_000)
"""Of a replica that is there: however slow the machine, it answers."""


@pytest.fixture
def pair(embedded_binary: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary and its replica, in step."""
    with tempfile.TemporaryDirectory(prefix="fd-") as folder, ExitStack() as stack:
        primary = RedisServer(
            embedded_binary,
            Path(folder) / "a",
            tcp=True,
            config=("--repl-diskless-sync-delay", "0"),
        )
        stack.enter_context(primary)
        follow = ("--replicaof", "127.0.0.1", str(primary.port))
        replica = RedisServer(embedded_binary, Path(folder) / "b", tcp=True, config=follow)
        stack.enter_context(replica)
        with primary.client() as client:
            eventually(lambda: in_step(client), "the replica is in step", within_s=60)
        yield primary, replica


class Room:
    """One consumer's work on one server."""

    def __init__(self, server: RedisServer) -> None:
        self.redis: Redis = connect(server.url)
        self.consumer = Consumer(self.redis, ReadConfig("in", "g", "me", (b"text",), 1000))

    async def publish(self, count: int, wait: Wait) -> list[str]:
        """Ids of new entries, whose XADD replicas have confirmed."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for number in range(count):
                pipe.xadd("in", {"text": f"message {number}"})
            pipe.wait(wait.replicas, wait.timeout_ms)
            *ids, confirmed = await pipe.execute()
        assert (confirmed >= wait.replicas) == (wait is LONG)
        return [id_.decode() for id_ in ids]

    async def settle(self, ids: list[str], wait: Wait) -> Settled:
        return await Settler(self.redis, "g", NAMES, 10_000, wait).settle(answers(ids))

    async def verdicts(self) -> list[str]:
        """The entries that verdicts name, as a reader of this server sees them."""
        return [fields[b"entry"].decode() for _, fields in await self.redis.xrange("out")]


def answers(ids: list[str]) -> list[Outcome]:
    verdict = Verdict.decide(0.75, 0.5, "m")
    return [Answer(Entry(id_, "text", None, ()), verdict) for id_ in ids]


def ids_of(outcomes: tuple[Outcome, ...]) -> list[str]:
    return [outcome.entry_id for outcome in outcomes]


async def test_a_promoted_replica_repeats_only_what_no_wait_confirmed(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    primary, replica = pair
    old, new = Room(primary), Room(replica)
    await old.consumer.ensure_group()
    safe = await old.publish(150, LONG)
    assert [entry.id for entry in await old.consumer.read()] == safe
    confirmed = await old.settle(safe[:100], LONG)
    assert ids_of(confirmed.settled) == safe[:100]
    assert confirmed.unconfirmed == ()
    # Whoever promotes the replica does not see the primary, which goes on for a while.
    await new.redis.replicaof("NO", "ONE")
    forgotten = await old.publish(20, SHORT)
    await old.consumer.read()
    doubtful = await old.settle([*safe[100:130], *forgotten], SHORT)
    assert doubtful.unconfirmed == doubtful.settled
    seen = await old.verdicts()
    primary.kill()
    with pytest.raises(UnavailableError):
        await old.settle(safe[130:], SHORT)
    # The daemon finds the new primary, where its consumer still holds what it was delivered.
    assert not await new.consumer.ensure_group()
    claimed = await new.consumer.claim("-", 0, (), "me")
    left = [entry.id for entry in claimed.entries]
    assert left == safe[100:]
    again = await new.settle([*left, *forgotten], SHORT)
    assert ids_of(again.lost) == forgotten
    after = await new.verdicts()
    assert sorted(after) == sorted(safe), "none is lost whose XADD was waited for"
    readers = Counter(seen + [entry for entry in after if entry not in ids_of(confirmed.settled)])
    repeated = {entry for entry, count in readers.items() if count > 1}
    assert repeated == set(safe[100:130])
    assert repeated <= set(ids_of(doubtful.unconfirmed))
    await old.redis.aclose()
    await new.redis.aclose()


async def test_an_answer_that_got_lost_leaves_its_settle_in_doubt(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    primary, _ = pair
    room = Room(primary)
    await room.consumer.ensure_group()
    ids = await room.publish(10, LONG)
    await room.consumer.read()
    settler = Settler(room.redis, "g", NAMES, 1000, LONG)
    primary.kill()
    with pytest.raises(UnavailableError):
        await settler.settle(answers(ids))
    primary.start()
    with primary.client() as client:
        eventually(lambda: in_step(client), "the replica is in step", within_s=60)
    done = await settler.settle(answers(ids))
    assert ids_of(done.settled) == ids
    assert ids_of(done.unconfirmed) == ids, "perhaps a reader has seen them before"
    assert (await settler.settle(answers(ids))).unconfirmed == ()
    await room.redis.aclose()


async def test_a_demoted_primary_is_left(pair: tuple[RedisServer, RedisServer]) -> None:
    primary, replica = pair
    room = Room(primary)
    await room.consumer.ensure_group()
    ids = await room.publish(10, LONG)
    await room.consumer.read()
    first = await room.redis.client_id()
    await room.redis.replicaof("127.0.0.1", str(replica.port))
    with pytest.raises(UnavailableError) as refused:
        await room.settle(ids, SHORT)
    assert refused.value.kind == "readonly"
    assert await room.redis.client_id() != first, "the next command goes over a new connection"
    await room.redis.aclose()
