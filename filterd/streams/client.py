"""A plain client for commands: one thread, nothing retried, ``embedded:DIR`` included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import redis

from filterd.embedded import Made, embedded_server, unsaid
from filterd.streams.connection import connect_blocking, parsed, translated

Connect = Callable[[str, str], AbstractContextManager[redis.Redis]]


@contextmanager
def reachable(url: str, made: Made = unsaid) -> Iterator[str]:
    """The same URL; of ``embedded:DIR`` that of its server, which runs as long as it is used.

    made: is told of a directory that was not there.
    """
    address = parsed(url)
    if address.kind != "embedded":
        yield url
        return
    with embedded_server(Path(address.directory), made) as started:
        yield started


@contextmanager
def open_client(url: str, key: str = "", made: Made = unsaid) -> Iterator[redis.Redis]:
    """A connected client. key: in a cluster, whose slot it serves · made: as of ``reachable``.

    Raises SettingsError for a URL that is none, without showing it, and UnavailableError where
    nothing answers.
    """
    with reachable(url, made) as real, connect_blocking(real, key) as client:
        with translated():
            client.ping()
        yield client


@contextmanager
def open_clients(
    url: str, keys: Sequence[str], connect: Connect = open_client
) -> Iterator[list[redis.Redis]]:
    """``open_client`` for each key: one client for all of them where there is no cluster.

    connect: ``connect_blocking`` instead, to ask none of them yet.
    """
    with ExitStack() as stack:
        if parsed(url).kind == "cluster":
            yield [stack.enter_context(connect(url, key)) for key in keys]
        else:
            yield [stack.enter_context(connect(url, ""))] * len(keys)
