"""A TCP line between a client and a server that a test can cut or hold up."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK = 65536


class Proxy:
    """Forwards connections on a free loopback port to a server's port, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self._upstream = port
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._kept: bytes | None = None
        self._answering = asyncio.Event()
        self._answering.set()
        self._lines: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        """The server's URL by way of this line."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._lines) // 2

    def cut(self) -> int:
        """Reset every connection, both ways; how many there were. New ones are let through."""

        return asyncio.run_coroutine_threadsafe(self._reset(), self._loop).result(10)

    def stall(self) -> None:
        """Forward nothing more, and say nothing: what a line does that silently died."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def keep_answers(self, marker: bytes) -> None:
        """Of every connection that asks something with these bytes in it, keep the answers from
        then on. What is asked goes through.
        """

        def keep() -> None:
            self._kept = marker
            self._answering.clear()

        self._loop.call_soon_threadsafe(keep)

    def flow(self) -> None:
        """Go on where it stalled, and let answers through."""

        def let_through() -> None:
            self._kept = None
            self._flowing.set()
            self._answering.set()

        self._loop.call_soon_threadsafe(let_through)

    async def _reset(self) -> int:
        count = self.connections
        for writer in self._lines:
            writer.transport.abort()
        return count

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:  # the server is away: so is this line
            writer.transport.abort()
            return
        ends = {writer, back}
        self._lines |= ends
        asked = asyncio.Event()
        pumps = [
            asyncio.ensure_future(self._pump(reader, back, asked)),
            asyncio.ensure_future(self._pump(there, writer, asked, answers=True)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        self._lines -= ends
        for end in ends:
            end.transport.abort()
        await asyncio.wait(pumps)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        asked: asyncio.Event,
        *,
        answers: bool = False,
    ) -> None:
        """asked: set once this connection's answers are to be kept."""
        with suppress(OSError):
            while data := await source.read(CHUNK):
                await self._flowing.wait()
                if not answers and self._kept is not None and self._kept in data:
                    asked.set()
                if answers and asked.is_set():
                    await self._answering.wait()
                if sink.is_closing():  # cut while it was held up
                    return
                sink.write(data)
                await sink.drain()

    async def _end(self) -> None:
        self._server.close()
        self._flowing.set()
        self._answering.set()
        await self._reset()
        lines = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*lines)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
