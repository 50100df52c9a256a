"""Trimming: the input stream forgets what every group has settled, after a while."""

from __future__ import annotations

from typing import cast

from redis.asyncio import Redis

from filterd.streams.scripts import Script


class Trimmer:
    """Trims the input stream of a group; settled entries stay for ``retention_s``."""

    def __init__(self, redis: Redis, stream: str, group: str, retention_s: float) -> None:
        self._stream = stream
        self._group = group
        self._retention_ms = int(retention_s * 1000)
        self._script = Script(redis, "trim")

    async def trim(self) -> int:
        """How many entries went. Raises UnavailableError."""
        return cast("int", await self._script([self._stream], [self._retention_ms, self._group]))
