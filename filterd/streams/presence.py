"""Presence: every daemon of a group says now and then that it is there, and how it does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from redis.asyncio import Redis

from filterd.streams.scripts import Script

FORGOTTEN_MS = 10_000

Record = Mapping[str, object]


def daemons_key(stream: str, group: str) -> str:
    """Where a group's daemons are; in a cluster it shares the stream's slot."""
    tag = stream if "{" in stream else f"{{{stream}}}"
    return f"{tag}:daemons:{group}"


class Presence:
    """One daemon among those of its group. name: its consumer's."""

    def __init__(self, redis: Redis, stream: str, group: str, name: str) -> None:
        self._key = daemons_key(stream, group)
        self._name = name
        self._script = Script(redis, "beat")

    async def beat(self, record: Record) -> dict[str, Record]:
        """Say how this daemon does; every daemon's last word, by name. Raises UnavailableError."""
        reply = await self._script([self._key], [self._name, json.dumps(record), FORGOTTEN_MS])
        parts = cast("list[Any]", reply)
        found: dict[str, Record] = {}
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            with suppress(ValueError):  # somebody else wrote it
                record = json.loads(text)
                if isinstance(record, dict):
                    found[name.decode(errors="replace")] = record
        return dict(sorted(found.items()))

    async def leave(self) -> None:
        """Be forgotten at once. Raises UnavailableError."""
        await self._script([self._key], [self._name, "", FORGOTTEN_MS])
