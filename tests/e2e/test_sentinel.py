"""The daemon finds the new primary through Sentinel, and says what may repeat."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from filterd.errors import UnavailableError
from filterd.streams.connection import connect_blocking, translated
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Streams
from tests.servers import RedisServer, Sentinels, in_step
from tests.waiting import eventually


@dataclass(frozen=True, slots=True)
class Replicated:
    """Three sentinels over a primary and its replica."""

    primary: RedisServer
    replica: RedisServer
    sentinels: Sentinels


@pytest.fixture
def replicated(debian_binary: Path) -> Iterator[Replicated]:
    with tempfile.TemporaryDirectory(prefix="fd-") as folder, ExitStack() as stack:
        fast = ("--repl-diskless-sync-delay", "0")
        primary = RedisServer(debian_binary, Path(folder) / "a", tcp=True, config=fast)
        stack.enter_context(primary)
        follow = (*fast, "--replicaof", "127.0.0.1", str(primary.port))
        replica = RedisServer(debian_binary, Path(folder) / "b", tcp=True, config=follow)
        stack.enter_context(replica)
        with primary.client() as client:
            eventually(lambda: in_step(client), "the replica is in step", within_s=60)
        sentinels = Sentinels(debian_binary, Path(folder), primary)
        yield Replicated(primary, replica, stack.enter_context(sentinels))


class Reader:
    """Reads verdicts as they come, wherever the primary is; remembers what it saw."""

    def __init__(self, client: redis.Redis, stream: str) -> None:
        self._client, self._stream, self._cursor = client, stream, "0"
        self.seen: Counter[bytes] = Counter()

    def read(self) -> int:
        """How many entries it has seen a verdict of."""
        try:
            with translated():
                found = self._client.xread({self._stream: self._cursor}, count=10_000)
        except UnavailableError:
            return len(self.seen)
        for cursor, fields in found[0][1] if found else []:
            self._cursor = cursor
            self.seen[fields[b"entry"]] += 1
        return len(self.seen)


def publish(client: redis.Redis, stream: str, texts: list[str]) -> list[bytes]:
    """XADD and WAIT; the ids that are safe."""
    pipe = client.pipeline(transaction=False)
    for text in texts:
        pipe.xadd(stream, {"text": text})
    pipe.wait(1, 20_000)
    *ids, confirmed = pipe.execute()
    assert confirmed == 1
    return ids


@pytest.mark.timeout(300)
def test_the_primary_is_killed_in_mid_stream(
    replicated: Replicated, daemon_of: MakeDaemon, prefix: str, sample: list[str]
) -> None:
    primary, url = replicated.primary, replicated.sentinels.url
    client = connect_blocking(url)
    streams, reader = Streams(client, prefix), Reader(client, f"{prefix}:out")
    one = daemon_of(url, WAIT_REPLICAS=1)
    safe = publish(client, streams.input, sample * 4)
    eventually(lambda: reader.read() > 100, "the stream flows", within_s=60)
    primary.kill()
    old_port = primary.port
    eventually(
        lambda: replicated.sentinels.primary_port() not in (0, old_port), "promoted", within_s=90
    )
    primary.start("--replicaof", "127.0.0.1", str(replicated.replica.port))
    with replicated.replica.client() as promoted:
        eventually(lambda: in_step(promoted), "the old primary follows", within_s=60)
    safe += publish(client, streams.input, sample)
    eventually(lambda: reader.read() >= len(safe) and streams.pending() == 0, within_s=120)
    assert streams.exactly_once(safe)
    assert streams.dead_letters() == []
    assert reader.seen.keys() == set(safe)
    repeats = reader.seen.total() - len(reader.seen)
    assert repeats <= one.metric("filterd_wait_timeouts_total")
    eventually(one.ready, "ready again", within_s=60)
    client.close()
