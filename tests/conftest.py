"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from tests.artifacts import tiny_artifact
from tests.servers import KINDS, RedisServer, binary

AVAILABLE = [kind for kind in KINDS if binary(kind) is not None]

# Run in the background, a shell has it ignored, and the commands that tests start inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", params=AVAILABLE)
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of each kind that is installed, for the whole session: use names of your own."""
    program = binary(request.param)
    assert program is not None
    # A short path: socket names are limited.
    with (
        tempfile.TemporaryDirectory(prefix="fd-") as folder,
        RedisServer(program, Path(folder)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def embedded_binary() -> Path:
    """The server program that comes along, for tests that start servers of their own."""
    program = binary("embedded")
    assert program is not None
    return program


@pytest.fixture(scope="session")
def debian_binary() -> Path:
    """redis-server, for what the embedded one lacks: TLS, sentinels, clusters."""
    program = binary("debian")
    if program is None:
        pytest.skip("redis-server is not installed")
    return program


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose name is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="fd-") as folder:
        yield Path(folder)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the session's server."""
    return redis_server.url


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A plain client of the session's server."""
    with redis_server.client() as connected:
        yield connected


@pytest.fixture
def prefix() -> str:
    """A beginning of key names that no other test uses."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests read no FILTERD_* variable of the shell that started them."""
    for name in list(os.environ):
        if name.upper().startswith("FILTERD_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny artifact, made once."""
    return tiny_artifact(tmp_path_factory.mktemp("artifact") / "tiny")
