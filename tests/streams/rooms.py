"""Streams of one test and who works on them, for tests of the scripts on real servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from filterd.entries import Answer, Entry, Outcome, RawEntry, Verdict
from filterd.streams.consumer import Consumer, ReadConfig
from filterd.streams.settling import Settler
from filterd.streams.trimming import Trimmer

HOUR_MS = 3_600_000


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


def answers(ids: Sequence[str]) -> list[Outcome]:
    """The same verdict on each of these entries."""
    verdict = Verdict.decide(0.75, 0.5, "m")
    return [Answer(Entry(id_, "text", None, ()), verdict) for id_ in ids]


def texts(entries: Sequence[RawEntry]) -> list[bytes]:
    """What each of them says."""
    return [dict(entry.fields)[b"text"] for entry in entries]


async def idle(room: Room, ids: Sequence[str], owner: str = "other", deliveries: int = 1) -> None:
    """Make pending entries another's, an hour idle."""
    await room.redis.xclaim(
        room.input, "g", owner, 0, list(ids), idle=HOUR_MS, retrycount=deliveries, justid=True
    )
