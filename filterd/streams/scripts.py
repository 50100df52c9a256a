"""The Lua scripts, as files beside this one, bound to a client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, cast

import redis as blocking
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from filterd.streams.connection import translated

SHARED = {
    "read": "wanted",
    "claim": "wanted",
    "audit_entries": "walk",
    "audit_outcomes": "walk",
    "dead_page": "walk",
    "dead_close": "message",
    "dead_message": "message",
}
"""Scripts that begin with another file's functions."""

Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Wait:
    """How many replicas must have a write, and how long that may take."""

    replicas: int
    timeout_ms: int = 1000


class Script:
    """One script. Calling it sends its hash, and its text where the server does not know it."""

    def __init__(self, redis: Redis, name: str) -> None:
        self._redis = redis
        self.text = _text(name)
        self._run = redis.register_script(self.text)

    @property
    def sha(self) -> str:
        """The hash that the server knows it by."""
        return str(self._run.sha)

    async def confirmed(
        self, keys: Sequence[str], args: Sequence[Argument], wait: Wait
    ) -> tuple[object, bool]:
        """Run it and WAIT, on the one connection that WAIT is about.

        The reply, and whether enough replicas have what it wrote. Raises as calling it does.
        """
        with translated():
            reply, replicas = await self._run_and_wait(keys, args, wait)
            if isinstance(reply, NoScriptError):
                await self._redis.script_load(self.text)
                reply, replicas = await self._run_and_wait(keys, args, wait)
            for answer in (reply, replicas):
                if isinstance(answer, Exception):
                    raise answer
        return reply, cast("int", replicas) >= wait.replicas

    async def _run_and_wait(
        self, keys: Sequence[str], args: Sequence[Argument], wait: Wait
    ) -> list[object]:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.evalsha(self.sha, len(keys), *keys, *args)
            pipe.wait(wait.replicas, wait.timeout_ms)
            # Raised by the pipeline, an error would repeat the arguments, which are people's.
            replies: list[object] = await pipe.execute(raise_on_error=False)
        return replies

    async def __call__(self, keys: Sequence[str], args: Sequence[Argument]) -> object:
        """Run it. Raises UnavailableError, or GroupMissingError, as the server answers."""
        with translated():
            return await self._run(keys=list(keys), args=list(args))


class SyncScript:
    """The same for commands, which wait for each answer."""

    def __init__(self, client: blocking.Redis, name: str) -> None:
        self.text = _text(name)
        self._run = client.register_script(self.text)

    def __call__(self, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run it. Raises UnavailableError, or GroupMissingError, as the server answers."""
        with translated():
            return self._run(keys=list(keys), args=list(args))


def _text(name: str) -> str:
    names = [SHARED[name], name] if name in SHARED else [name]
    folder = files("filterd.streams")
    return "\n".join((folder / f"{part}.lua").read_text() for part in names)
