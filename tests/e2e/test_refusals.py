"""Redis refuses, forgets or goes away: entries stay pending and are settled once it is well."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Daemon, Streams
from tests.servers import RedisServer
from tests.waiting import eventually


@pytest.fixture
def own_server(redis_server: RedisServer) -> Iterator[RedisServer]:
    """A server of the same kind for one test alone, that it may break."""
    with (
        tempfile.TemporaryDirectory(prefix="fd-") as folder,
        RedisServer(redis_server.program, Path(folder), tcp=True) as server,
    ):
        yield server


@pytest.fixture
def own_streams(own_server: RedisServer, prefix: str) -> Iterator[Streams]:
    """The test's streams on it."""
    with own_server.client() as client:
        yield Streams(client, prefix)


def test_an_output_of_the_wrong_type(
    daemon: MakeDaemon, streams: Streams, sample: list[str]
) -> None:
    streams.client.rpush(streams.output, "not a stream")
    ids = streams.publish(sample[:20])
    no_text = streams.client.xadd(streams.input, {"x": "y"})
    one = daemon(wait=False)
    _refused(one, "wrongtype")
    eventually(lambda: len(streams.dead_letters()) == 1, "the dead letter is not held up")
    assert streams.pending() == len(ids)
    streams.client.delete(streams.output)
    eventually(lambda: streams.exactly_once([*ids, no_text]), "all settled")
    eventually(one.ready, "ready again")


def test_an_output_that_acl_refuses(
    daemon: MakeDaemon, own_server: RedisServer, own_streams: Streams, sample: list[str]
) -> None:
    rights = ("on", ">secret", "+@all", f"%R~{own_streams.output}")
    keys = (f"~{own_streams.input}", f"~{own_streams.dead}", "~*:watermark:*", "~*:consumer:*")
    own_streams.client.execute_command("ACL", "SETUSER", "limited", "reset", *rights, *keys)
    ids = own_streams.publish(sample[:20])
    one = daemon(f"redis://limited:secret@127.0.0.1:{own_server.port}/0", wait=False)
    _refused(one, "noperm")
    assert own_streams.outcomes() == 0
    own_streams.client.execute_command("ACL", "SETUSER", "limited", f"~{own_streams.output}")
    eventually(lambda: own_streams.exactly_once(ids), "all settled")
    assert "secret" not in one.log


def test_a_server_out_of_memory(
    daemon: MakeDaemon, own_server: RedisServer, own_streams: Streams, sample: list[str]
) -> None:
    one = daemon(own_server.url)
    one.signal(signal.SIGSTOP)
    ids = own_streams.publish(sample[:20])
    own_streams.client.config_set("maxmemory", 1)
    one.signal(signal.SIGCONT)
    _refused(one, "oom")
    assert own_streams.outcomes() == 0
    own_streams.client.config_set("maxmemory", 0)
    eventually(lambda: own_streams.exactly_once(ids), "all settled")
    eventually(one.ready, "ready again")


def test_redis_restarts(
    daemon: MakeDaemon, own_server: RedisServer, own_streams: Streams, sample: list[str]
) -> None:
    one = daemon(own_server.url)
    first = own_streams.publish(sample)
    eventually(lambda: own_streams.outcomes() > 0, "begun")
    own_server.stop()
    eventually(lambda: not one.ready(), "not ready while Redis is away")
    own_server.start()
    second = own_streams.publish(sample)
    eventually(lambda: own_streams.exactly_once([*first, *second]), "all settled", within_s=60)
    eventually(one.ready, "ready again")
    assert one.process.poll() is None


def test_the_group_is_deleted(daemon: MakeDaemon, streams: Streams, sample: list[str]) -> None:
    one = daemon()
    first = streams.publish(sample[:20])
    eventually(lambda: streams.exactly_once(first), "all settled")
    streams.client.xgroup_destroy(streams.input, streams.group)
    second = streams.publish(sample[20:40])
    eventually(lambda: streams.outcomes() == 40, "all settled, from the watermark on")
    assert streams.exactly_once([*first, *second])
    assert one.metric("filterd_redis_errors_total", kind="nogroup") >= 1


def test_the_stream_is_deleted(daemon: MakeDaemon, streams: Streams, sample: list[str]) -> None:
    daemon()
    first = streams.publish(sample[:20])
    eventually(lambda: streams.exactly_once(first), "all settled")
    streams.client.delete(streams.input)
    second = streams.publish(sample[20:40])
    eventually(lambda: streams.outcomes() == 40, "all settled")
    assert streams.exactly_once([*first, *second])


def _refused(one: Daemon, kind: str) -> None:
    def counted() -> bool:
        try:
            return one.metric("filterd_redis_errors_total", kind=kind) > 0
        except (AssertionError, OSError):
            return False

    eventually(counted, f"an error of kind {kind}")
    eventually(lambda: not one.ready(), "not ready")
