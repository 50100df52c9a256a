"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

import pytest
import redis

from tests.e2e.daemon import Daemon, Streams
from tests.servers import RedisServer
from tests.waiting import eventually

DATA = Path(__file__).parents[3] / "shared" / "data" / "sms_spam_collection"

MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def streams(client: redis.Redis, prefix: str) -> Streams:
    """Streams that no other test uses."""
    return Streams(client, prefix)


@pytest.fixture
def daemon_of(prefix: str, tmp_path: Path) -> Iterator[MakeDaemon]:
    """Make daemons of a server, on the test's streams; those that still run are killed at last."""
    with ExitStack() as stack:

        def make(url: str, *, wait: bool = True, **settings: object) -> Daemon:
            made = stack.enter_context(Daemon(url, prefix, tmp_path / "daemon.log", **settings))
            if wait:
                eventually(made.ready, "the daemon is ready", within_s=60)
            return made

        yield make


@pytest.fixture
def daemon(redis_server: RedisServer, daemon_of: MakeDaemon) -> MakeDaemon:
    """Make daemons of the session's server, or of another."""

    def make(url: str = redis_server.url, **settings: object) -> Daemon:
        return daemon_of(url, **settings)

    return make


@pytest.fixture(scope="session")
def sample() -> list[str]:
    """The texts of the sample that comes along."""
    text = (files("filterd") / "sample" / "messages.tsv").read_text(encoding="utf-8")
    return [line.split("\t", 1)[1] for line in text.splitlines()]


@pytest.fixture(scope="session")
def collection() -> Path:
    """The folder of the SMS Spam Collection."""
    if not DATA.is_dir():
        pytest.skip("shared/data/sms_spam_collection is not beside this checkout")
    return DATA
