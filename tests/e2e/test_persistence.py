"""Redis is killed in mid-stream: with ``appendfsync always`` nothing is lost or repeated."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.commands import filterd
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Streams
from tests.servers import RedisServer
from tests.waiting import eventually


@pytest.fixture
def durable(embedded_binary: Path) -> Iterator[RedisServer]:
    """A server that answers only what is on the disk."""
    with (
        tempfile.TemporaryDirectory(prefix="fd-") as folder,
        RedisServer(
            embedded_binary, Path(folder), tcp=True, config=("--appendfsync", "always")
        ) as server,
    ):
        yield server


def acknowledged(server: RedisServer, streams: Streams, texts: list[str]) -> list[bytes]:
    """Publish one by one until the server dies; the ids that it answered."""
    ids: list[bytes] = []
    try:
        for text in texts:
            ids.append(streams.client.xadd(streams.input, {"text": text}))
            if len(ids) == len(texts) // 2:
                server.kill()
    except redis.exceptions.ConnectionError:
        pass
    return ids


@pytest.mark.timeout(300)
def test_redis_is_killed_again_and_again(
    daemon_of: MakeDaemon, durable: RedisServer, prefix: str, sample: list[str]
) -> None:
    one = daemon_of(durable.url)
    ids: list[bytes] = []
    with durable.client() as client:
        streams = Streams(client, prefix)
        for _ in range(3):
            ids += acknowledged(durable, streams, sample)
            durable.start()
        eventually(lambda: streams.outcomes() >= len(ids), "all settled", within_s=120)
        eventually(lambda: streams.exactly_once(ids), "each has one outcome", within_s=60)
        assert streams.dead_letters() == []
        assert one.metric("filterd_redis_errors_total", kind="away") > 0
    names = {"input_stream": streams.input, "output_stream": streams.output}
    names |= {"dead_stream": streams.dead, "group": streams.group}
    audited = filterd("audit", redis_url=durable.url, **names)
    assert audited.code == 0, audited.out
