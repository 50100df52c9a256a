"""A line: the connection of one who reads, on which the server says that there is more to read.

Client-side caching, turned round: a script that finds nothing looks at the stream with a command
that the server remembers (``CLIENT TRACKING``), and whoever changes the stream next makes the
server send its name here. What was added does not come with it, so that nothing of any size comes
unasked; and because looking and remembering are one step, nothing is added in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from redis import exceptions
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from filterd.errors import UnavailableError
from filterd.streams.connection import SOCKET_TIMEOUT_S, translated
from filterd.streams.scripts import Argument, Script

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

log = structlog.get_logger()

FOR_GOOD = ("noperm", "other")
"""Kinds of a refusal that comes again however often one asks."""


class Line:
    """One connection, kept for one kind of work; closed with the client that it is taken from.

    It costs half of what the client's own way of sending a command does, which takes a connection
    from a pool each time and guards each step with a task.

    wakes: whether the server says on it that something has changed. Some do not: for users without
    the right to CLIENT TRACKING, behind proxies, where they speak no RESP3.
    """

    def __init__(self, redis: Redis, *, tracking: bool = False) -> None:
        self._pool = redis.connection_pool
        self._tracking = tracking
        self._connection: AbstractConnection | None = None
        self._one_at_a_time = asyncio.Lock()
        self.wakes = False

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> object:
        """Run a script here. Raises UnavailableError, or GroupMissingError, as the server does."""
        words = ("EVALSHA", script.sha, len(keys), *keys, *args)
        with translated():
            async with self._one_at_a_time:
                connection = await self._opened()
                try:
                    return await _ask(connection, *words)
                except NoScriptError:
                    await _ask(connection, "SCRIPT LOAD", script.text)
                    return await _ask(connection, *words)

    async def wait(self, most_s: float) -> None:
        """Until something changes that a script has looked at here, or as long as given.

        Not at all where the connection is gone, and with it the server's memory of the look.
        """
        with translated():
            async with self._one_at_a_time:
                if (connection := self._live) is not None:
                    await connection.read_response(timeout=most_s, push_request=True)

    @property
    def _live(self) -> AbstractConnection | None:
        found = self._connection
        if found is None or not found.is_connected or found.should_reconnect():
            return None
        return found

    async def _opened(self) -> AbstractConnection:
        if (live := self._live) is not None:
            return live
        found = self._connection
        if found is None:
            found = self._connection = await self._pool.get_connection()
        else:
            await found.disconnect()
            found.protocol, found.socket_timeout = 2, SOCKET_TIMEOUT_S
            await found.connect()
        if self._tracking:
            await self._track(found)
        found.socket_timeout = None  # _ask has one of its own
        return found

    async def _track(self, connection: AbstractConnection) -> None:
        """Ask to be woken. By ``protocol`` redis-py knows that what it reads may be no answer."""
        try:
            with translated():
                await _ask(connection, "HELLO", 3)
                connection.protocol = 3
                await _ask(connection, "CLIENT TRACKING", "ON")
        except UnavailableError as error:
            if error.kind not in FOR_GOOD:
                await connection.disconnect()
                raise
            log.info("the server does not say when entries come", kind=error.kind)
            self._tracking = self.wakes = False
        else:
            self.wakes = True


async def _ask(connection: AbstractConnection, *words: Argument) -> object:
    try:
        async with asyncio.timeout(SOCKET_TIMEOUT_S):
            await connection.send_command(*words)
            reply: object = await connection.read_response()
    except TimeoutError as error:
        raise exceptions.TimeoutError from error
    return reply
