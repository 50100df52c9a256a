"""Real servers for tests: the embedded one and Debian's, started, killed and restarted at will."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

    def start(self, *more: str) -> Self:
        """Start it and wait for its answer. more: arguments of this life alone."""
        listen = ("--port", str(self.port), "--bind", "127.0.0.1")
        if not self.port:
            listen = (*listen, "--unixsocket", str(self.socket))
        self.process = subprocess.Popen(
            [
                *(str(self.program), *listen, "--dir", str(self.directory), "--save", ""),
                *("--appendonly", "yes", "--appendfsync", "everysec"),
                *("--logfile", str(self.directory / "log"), *self._config, *more),
            ],
            stdin=subprocess.DEVNULL,
        )
        eventually(self._answers, "the server answers", within_s=120)
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


class Sentinels:
    """Sentinels that watch one primary, under the name ``main``."""

    def __init__(self, program: Path, folder: Path, primary: RedisServer, count: int = 3) -> None:
        self._program = program
        self._folders = [folder / f"sentinel-{number}" for number in range(count)]
        self.ports = [free_port() for _ in range(count)]
        self._config = (
            f"sentinel monitor main 127.0.0.1 {primary.port} {count // 2 + 1}\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 4000\n"
        )
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """What FILTERD_REDIS_URL is set to."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.ports)}/main/0"

    def primary_port(self) -> int:
        """Where the primary is, as a majority agrees."""
        said = Counter(self._asked(port) for port in self.ports)
        port, votes = said.most_common(1)[0]
        return port if votes > len(self.ports) // 2 else 0

    def ready(self) -> bool:
        """Whether all of them know the others and the replica."""
        for port in self.ports:
            with redis.Redis(port=port) as client:
                found = client.sentinel_master("main")
            known = (found["num-other-sentinels"], found["num-slaves"])
            if known != (len(self.ports) - 1, 1):
                return False
        return True

    def _asked(self, port: int) -> int:
        with redis.Redis(port=port) as client:
            return int(client.sentinel_get_master_addr_by_name("main")[1])

    def __enter__(self) -> Self:
        for folder, port in zip(self._folders, self.ports, strict=True):
            folder.mkdir(parents=True)
            listen = f"port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile {folder}/log\n"
            (folder / "sentinel.conf").write_text(listen + self._config)
            command = [str(self._program), str(folder / "sentinel.conf"), "--sentinel"]
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
        for port in self.ports:
            eventually(lambda port=port: answers(port), "the sentinel answers")  # type: ignore[misc]
        eventually(self.ready, "the sentinels know each other", within_s=60)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait(30)


def answers(port: int) -> bool:
    """Whether something answers PING."""
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
        return False


def in_step(primary: redis.Redis) -> bool:
    """Whether the one replica has all that the primary has."""
    found = primary.info("replication")
    replica = found.get("slave0", {})
    return bool(replica) and replica["state"] == "online" and primary.wait(1, 100) == 1


@contextmanager
def embedded() -> Iterator[RedisServer]:
    """The server that comes along, for modules that learn nothing from running on another too."""
    with (
        tempfile.TemporaryDirectory(prefix="fd-") as short,
        RedisServer(server_binary(), Path(short)) as server,
    ):
        yield server


def free_port() -> int:
    """A free loopback port that no outgoing connection takes while its server is down."""
    while True:
        port = random.randrange(10_000, 32_768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
