"""A plain client for commands: one thread, nothing retried, ``embedded:DIR`` included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from filterd.embedded import embedded_server
from filterd.errors import SettingsError
from filterd.streams.connection import SOCKET_TIMEOUT_S, translated


@contextmanager
def open_client(url: str) -> Iterator[redis.Redis]:
    """A connected client; a server that has to be started first runs as long as it is used.

    Raises SettingsError for a URL that is none, without showing it, and UnavailableError where
    nothing answers.
    """
    embedded = url.startswith("embedded:")
    with embedded_server(Path(url[len("embedded:") :])) if embedded else nullcontext(url) as real:
        try:
            client = redis.Redis.from_url(
                real,
                protocol=2,
                socket_timeout=SOCKET_TIMEOUT_S,
                socket_connect_timeout=5.0,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise SettingsError("FILTERD_REDIS_URL is no URL of a Redis server") from None
        with client:
            with translated():
                client.ping()
            yield client
