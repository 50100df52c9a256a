"""Real servers for tests: the embedded one and Debian's, started, killed and restarted at will."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from filterd.embedded import server_binary
from tests.waiting import eventually

KINDS = ("embedded", "debian")


def binary(kind: str) -> Path | None:
    """The server program of a kind; None where it is not installed."""
    if kind == "embedded":
        return server_binary()
    found = shutil.which("redis-server")
    return None if found is None else Path(found)


class RedisServer:
    """One server process on a directory, with its append-only file on.

    tcp: listen on a free loopback port, else on a unix socket · config: more arguments.
    """

    def __init__(
        self, program: Path, directory: Path, *, tcp: bool = False, config: Sequence[str] = ()
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.program, self.directory, self._config = program, directory, tuple(config)
        self.port = free_port() if tcp else 0
        self.socket = directory / "s"
        self.url = f"redis://127.0.0.1:{self.port}/0" if tcp else f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait for its answer."""
        listen = ("--port", str(self.port), "--bind", "127.0.0.1")
        if not self.port:
            listen = (*listen, "--unixsocket", str(self.socket))
        self.process = subprocess.Popen(
            [
                *(str(self.program), *listen, "--dir", str(self.directory), "--save", ""),
                *("--appendonly", "yes", "--appendfsync", "everysec"),
                *("--logfile", str(self.directory / "log"), *self._config),
            ],
            stdin=subprocess.DEVNULL,
        )
        eventually(self._answers, "the server answers")
        return self

    def stop(self) -> None:
        """Stop it in order; what it holds is written."""
        self._end(kill=False)

    def kill(self) -> None:
        """kill -9."""
        self._end(kill=True)

    def restart(self) -> None:
        """Stop and start on the same data and address."""
        self.stop()
        self.start()

    def client(self) -> redis.Redis:
        """A plain client."""
        return redis.Redis.from_url(self.url)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            with self.client() as client:
                return bool(client.ping())
        except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
            return False

    def _end(self, *, kill: bool) -> None:
        if self.process is None:
            return
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(30)
        self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
