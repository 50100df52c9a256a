"""The consumer: deliver, claim and renew entries of one group, within bounds of memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from filterd.entries import RawEntry
from filterd.streams.connection import translated
from filterd.streams.line import Line
from filterd.streams.scripts import Argument, Script

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.001, 0.02
"""Between two looks at a stream where the server does not say that entries have come."""
WOKEN_PAUSE_S = 0.25
"""The same where it does: for a word that gets lost, and so that stopping takes no longer."""

FORGET_CONSUMERS_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class ReadConfig:
    """Whose entries are read, and how much at a time.

    most_entries, most_bytes: of one call; it ends with the entry that reaches either
    entry_bytes: wanted fields above this are not read, only measured
    alone_after: entries delivered this often before are claimed one at a time, because one of
    them may be what kills its consumers.
    """

    stream: str
    group: str
    consumer: str
    wanted: tuple[bytes, ...]
    entry_bytes: int
    most_entries: int = 512
    most_bytes: int = 4_194_304
    alone_after: int = 2


@dataclass(frozen=True, slots=True)
class Claimed:
    """cursor: where to go on, '' at the end · gone: ids acked because their body was deleted."""

    cursor: str
    gone: tuple[str, ...]
    entries: tuple[RawEntry, ...]


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """Where the group stands. Ages in seconds by the server's clock; None lag: unknown."""

    lag: int | None
    pending: int
    oldest_pending_s: float
    oldest_undelivered_s: float


def watermark_key(stream: str, group: str) -> str:
    """Where settling keeps the watermark; in a cluster it shares the stream's slot."""
    return f"{slot_tag(stream)}:watermark:{group}"


def slot_tag(stream: str) -> str:
    """How the name of a key begins that shares the stream's slot in a cluster."""
    return stream if "{" in stream else f"{{{stream}}}"


class Consumer:
    """One consumer of a group. All methods raise UnavailableError while Redis is away."""

    def __init__(self, redis: Redis, config: ReadConfig) -> None:
        self._redis = redis
        self._config = config
        self._last_s, self._at_end = time.monotonic(), False
        self._line = Line(redis, tracking=True)
        self._read = Script(redis, "read")
        self._claim = Script(redis, "claim")
        self._renew = Script(redis, "renew")
        self._reap = Script(redis, "reap")

    @property
    def name(self) -> str:
        """This consumer's name in the group."""
        return self._config.consumer

    @property
    def stream(self) -> str:
        """The stream that it reads."""
        return self._config.stream

    @property
    def alone_after(self) -> int:
        """Deliveries after which an entry is claimed, and to be scored, alone."""
        return self._config.alone_after

    @property
    def woken(self) -> bool:
        """Whether the server says when there is something to read, as far as it was asked."""
        return self._line.wakes

    async def ensure_group(self) -> bool:
        """Make the stream and the group where they are missing; True if they were.

        From the watermark where settling left one, else from the stream's beginning.
        """
        config = self._config
        with translated():
            mark: Any = await self._redis.get(watermark_key(config.stream, config.group))
            start = before(mark.decode()) if mark else "0-0"
            try:
                await self._redis.xgroup_create(config.stream, config.group, start, mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" in str(error):
                    return False
                raise
        return True

    async def read(self, most: int | None = None) -> list[RawEntry]:
        """New entries. Where the last read came to the stream's end, it first waits a little.

        It does not block on the server, because a blocked XREADGROUP answers with a whole entry,
        wanted or not and of any size. most: where fewer are wanted than the config allows.
        """
        await self._pause()
        config = self._config
        count = min(most or config.most_entries, config.most_entries)
        limits = (count, config.most_bytes, config.entry_bytes)
        args: list[Argument] = [config.group, config.consumer, *limits, *config.wanted]
        reply = cast("list[Any]", await self._line.run(self._read, [config.stream], args))
        self._at_end = bool(reply[0])
        entries = _entries(reply[1:], config.stream)
        if entries:
            self._last_s = time.monotonic()
        return entries

    async def _pause(self) -> None:
        """Until there may be more than the last read found, or it is time to look all the same."""
        if self._at_end:
            self._at_end = False
            if self._line.wakes:
                await self._line.wait(WOKEN_PAUSE_S)
            else:
                await asyncio.sleep(until_next_look_s(time.monotonic() - self._last_s))

    async def claim(
        self, cursor: str, idle_ms: int, held: Collection[str], whose: str = ""
    ) -> Claimed:
        """Take over entries idle for ``idle_ms``, from ``cursor`` ('-' to begin) on.

        held: ids in flight here, which are left alone · whose: only this consumer's entries.
        """
        config = self._config
        limits = (config.most_entries, config.most_bytes, config.entry_bytes, config.alone_after)
        head = (config.group, config.consumer, idle_ms, cursor, whose)
        args: list[Argument] = [*head, *limits, len(held), *held, *config.wanted]
        reply = cast("list[Any]", await self._claim([config.stream], args))
        gone = tuple(id_.decode() for id_ in reply[1])
        return Claimed(reply[0].decode(), gone, tuple(_entries(reply[2], config.stream)))

    async def renew(self, ids: Sequence[str]) -> int:
        """A sign of life for ids in flight; how many of them are still this consumer's."""
        config = self._config
        reply = await self._renew([config.stream], [config.group, config.consumer, *ids])
        return cast("int", reply)

    async def reap(self) -> int:
        """Remove consumers that hold nothing and were not seen for an hour."""
        config = self._config
        args: list[Argument] = [config.group, config.consumer, FORGET_CONSUMERS_MS]
        return cast("int", await self._reap([config.stream], args))

    async def status(self) -> GroupStatus:
        """Lag, pending entries and ages, for metrics."""
        config = self._config
        with translated():
            groups: Any = await self._redis.xinfo_groups(config.stream)
            group = next((g for g in groups if g["name"] == config.group.encode()), None)
            if group is None:
                return GroupStatus(None, 0, 0.0, 0.0)
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.xpending(config.stream, config.group)
                after = "(" + group["last-delivered-id"].decode()
                pipe.xrange(config.stream, after, "+", count=1)
                (seconds, micros), pending, waiting = await pipe.execute()
        now_ms = seconds * 1000 + micros // 1000
        oldest = pending["min"] if pending["pending"] else None
        undelivered = waiting[0][0] if waiting else None
        return GroupStatus(
            group.get("lag"),
            pending["pending"],
            _age_s(oldest, now_ms),
            _age_s(undelivered, now_ms),
        )


def until_next_look_s(idle_s: float) -> float:
    """How long to wait until the next look at a stream that has had nothing for ``idle_s``.

    An eighth of that, so that waiting adds little to what passes in between; within bounds.
    """
    return min(LONGEST_PAUSE_S, max(SHORTEST_PAUSE_S, idle_s / 8))


def before(mark: str) -> str:
    """The last id below a watermark: ``(id`` is the lowest pending one, else it is settled.

    >>> before("(5-0"), before("(5-3"), before("7-1")
    ('4-18446744073709551615', '5-2', '7-1')
    """
    if not mark.startswith("("):
        return mark
    ms, seq = (int(part) for part in mark[1:].split("-"))
    if seq:
        return f"{ms}-{seq - 1}"
    return f"{ms - 1}-{2**64 - 1}" if ms else "0-0"


def id_ms(entry_id: str) -> int:
    """The unix milliseconds in an entry's id."""
    return int(entry_id.partition("-")[0])


def _age_s(entry_id: bytes | None, now_ms: int) -> float:
    return max(0.0, (now_ms - id_ms(entry_id.decode())) / 1000) if entry_id else 0.0


def _entries(rows: object, stream: str) -> list[RawEntry]:
    found: list[RawEntry] = []
    for id_, deliveries, size, *parts in cast("list[list[Any]]", rows):
        fields = tuple(zip(parts[::2], parts[1::2], strict=True))
        found.append(RawEntry(id_.decode(), fields, size, deliveries, stream))
    return found
