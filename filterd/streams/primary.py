"""Where the primary is now: asked of sentinels or of a cluster's nodes at each new connection.

All that filterd does with one stream happens on one server, which moves only by a failover. So a
client is a plain one of redis-py whose connections ask where to go before they connect, and are
given up where a server says that it is the primary no more.
"""

from __future__ import annotations

import asyncio
from binascii import crc_hqx
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any

import redis.asyncio.connection
from redis import connection as blocking
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import MovedError, ReadOnlyError, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from filterd.address import Node
from filterd.partitions import hash_tag

ASK_TIMEOUT_S = 2.0
SLOTS = 16384

Seek = Callable[[], Node]
Options = dict[str, Any]


def at_sentinels(nodes: tuple[Node, ...], service: str, options: Options) -> Seek:
    """Ask sentinels for the primary of a service. options: their login and TLS."""
    sentinels = Sentinel(nodes, sentinel_kwargs=_asking(options))
    return _one_at_a_time(lambda: sentinels.discover_master(service))


def in_cluster(nodes: tuple[Node, ...], key: str, options: Options) -> Seek:
    """Ask the nodes of a cluster, another one each time, for the primary of a key's slot.

    options: their login and TLS.
    """
    known, slot, asked = deque(nodes), slot_of(key), _asking(options)

    def seek() -> Node:
        errors: list[RedisError] = []
        for _ in range(len(known)):
            known.rotate(-1)
            host, port = known[-1]
            try:
                with redis.Redis(host=host, port=port, **asked) as node:
                    rows: Any = node.execute_command("CLUSTER SLOTS")
            except LostError as error:
                errors.append(error)
                continue
            found = _primaries(rows, host)
            known.extend({*found.values()} - set(known))
            for first, last in found:
                if first <= slot <= last:
                    return found[first, last]
            errors.append(LostError(f"CLUSTERDOWN no node of the cluster serves slot {slot}"))
        raise errors[-1]

    return _one_at_a_time(seek)


def slot_of(key: str) -> int:
    """The slot of a key in a cluster."""
    return crc_hqx(hash_tag(key).encode(), 0) % SLOTS


def _one_at_a_time(seek: Seek) -> Seek:
    """Connections are made in threads, and whom to ask first is remembered."""
    lock = Lock()

    def locked() -> Node:
        with lock:
            return seek()

    return locked


def _asking(options: Options) -> Options:
    short = {"socket_timeout": ASK_TIMEOUT_S, "socket_connect_timeout": ASK_TIMEOUT_S}
    return {"protocol": 2, **options, **short, "retry": Retry(NoBackoff(), 0)}


def _primaries(rows: Any, asked: str) -> dict[tuple[int, int], Node]:
    """The primary of each range of slots. A node that does not know its own name says ''."""
    return {
        (first, last): ((primary[0] or asked.encode()).decode(), primary[1])
        for first, last, primary, *_ in rows
    }


class Seeking(redis.asyncio.connection.Connection):
    """Connects to where ``seek`` says, if it is given."""

    def __init__(self, *, seek: Seek | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._seek = seek

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Seek, then connect."""
        if self._seek is not None and not self.is_connected:
            self.host, self.port = await asyncio.to_thread(self._seek)
        await super().connect_check_health(*args, **kwargs)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """The reply; of a server that is the primary no more, the last one."""
        try:
            return await super().read_response(*args, **kwargs)
        except (ReadOnlyError, MovedError):
            self.mark_for_reconnect()  # type: ignore[no-untyped-call]
            raise


class SeekingTLS(Seeking, redis.asyncio.connection.SSLConnection):
    """The same over TLS."""

    async def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """The first words after the handshake; who refuses our certificate hangs up here."""
        try:
            await super().on_connect_check_health(*args, **kwargs)
        except LostError as error:
            raise _explained(error) from error


class BlockingSeeking(blocking.Connection):
    """The same for a client of one thread."""

    def __init__(self, *, seek: Seek | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._seek = seek

    def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Seek, then connect."""
        if self._seek is not None and self._sock is None:
            self.host, self.port = self._seek()
        super().connect_check_health(*args, **kwargs)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """The reply; of a server that is the primary no more, the last one."""
        try:
            return super().read_response(*args, **kwargs)
        except (ReadOnlyError, MovedError):
            self.mark_for_reconnect()  # type: ignore[no-untyped-call]
            raise


class BlockingSeekingTLS(BlockingSeeking, blocking.SSLConnection):
    """The same over TLS for a client of one thread."""

    def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """The first words after the handshake; who refuses our certificate hangs up here."""
        try:
            super().on_connect_check_health(*args, **kwargs)
        except LostError as error:
            raise _explained(error) from error


def _explained(error: LostError) -> LostError:
    """TLS 1.3 accepts a client before it has seen its certificate, and the alert can get lost."""
    if type(error) is not LostError or "[SSL" in str(error):
        return error
    return LostError("[SSL: ALERT] the server hung up after the handshake")
