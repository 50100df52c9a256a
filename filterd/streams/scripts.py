"""The Lua scripts, as files beside this one, bound to a client."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from redis.asyncio import Redis

from filterd.streams.connection import translated

SHARED = {"read": "wanted", "claim": "wanted"}
"""Scripts that begin with another file's functions."""

Argument = str | bytes | int


class Script:
    """One script. Calling it sends its hash, and its text where the server does not know it."""

    def __init__(self, redis: Redis, name: str) -> None:
        names = [SHARED[name], name] if name in SHARED else [name]
        folder = files("filterd.streams")
        text = "\n".join((folder / f"{part}.lua").read_text() for part in names)
        self._run = redis.register_script(text)

    async def __call__(self, keys: Sequence[str], args: Sequence[Argument]) -> object:
        """Run it. Raises UnavailableError, or GroupMissingError, as the server answers."""
        with translated():
            return await self._run(keys=list(keys), args=list(args))
