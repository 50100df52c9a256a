"""What a service manager hears from the daemon, from its start to its end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon
from tests.servers import RedisServer
from tests.waiting import eventually


class Manager:
    """The end of the socket that systemd holds. name: as NOTIFY_SOCKET gives it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.setblocking(False)
        self._lines: list[str] = []

    def count(self, beginning: str) -> int:
        """How many lines so far began so."""
        while True:
            try:
                self._lines += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return sum(line.startswith(beginning) for line in self._lines)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, short_path: Path, prefix: str) -> Iterator[Manager]:
    made = Manager(f"@{prefix}" if request.param == "abstract" else str(short_path / "notify"))
    with made.socket:
        yield made


def test_ready_alive_away_and_stopping(
    manager: Manager,
    embedded_binary: Path,
    short_path: Path,
    prefix: str,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.name)
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    with (
        RedisServer(embedded_binary, short_path / "server") as server,
        Daemon(server.url, prefix, short_path / "log", ARTIFACT=tiny) as one,
    ):
        eventually(lambda: manager.count("READY=1"), "ready", within_s=60)
        assert one.ready()
        assert manager.count("STOPPING=1") == 0
        server.stop()
        eventually(lambda: manager.count("STATUS=waiting for: Redis"), "says what it waits for")
        alive = manager.count("WATCHDOG=1")
        eventually(lambda: manager.count("WATCHDOG=1") > alive, "waiting is no hanging")
        one.signal(signal.SIGTERM)
        eventually(lambda: manager.count("STOPPING=1"), "stopping")
        assert one.process.wait(30) == 0
    assert manager.count("READY=1") == 1


def test_no_manager_no_notice(
    redis_server: RedisServer,
    short_path: Path,
    prefix: str,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A socket that nobody holds any more takes nothing down."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(short_path / "gone"))
    with Daemon(redis_server.url, prefix, short_path / "log", ARTIFACT=tiny) as one:
        eventually(one.ready, "ready", within_s=60)
        assert one.stop() == 0
