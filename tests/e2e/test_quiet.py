"""Nothing happens for longer than the client's time-out: no connection is cut, none is idle."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from filterd.streams.connection import SOCKET_TIMEOUT_S
from tests.commands import command, environment
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Streams
from tests.waiting import eventually


def test_a_quiet_daemon_and_a_quiet_reader_keep_their_connections(
    daemon: MakeDaemon, streams: Streams, redis_url: str
) -> None:
    before = ages(streams)
    with reader(redis_url, streams) as reading:
        eventually(lambda: ages(streams).keys() - before.keys(), "the reader is connected")
        one = daemon()
        connected = ages(streams).keys() - before.keys()
        assert len(connected) >= 2
        eventually(lambda: quiet(streams, connected), "longer than the time-out", within_s=60)
        (entry,) = streams.publish(["hello"])
        eventually(lambda: streams.exactly_once([entry]), "it is answered at once")
        assert reading.stdout is not None
        assert reading.stdout.readline().split(b"\t")[0] == entry
        assert connected <= ages(streams).keys(), "over the connections that there were"
        for kind in ("timeout", "away"):
            assert one.metric("filterd_redis_errors_total", kind=kind) == 0


@contextmanager
def reader(url: str, streams: Streams) -> Iterator[subprocess.Popen[bytes]]:
    """``filterd tail``, which waits on the server for verdicts."""
    given = environment(redis_url=url, output_stream=streams.output)
    with subprocess.Popen(command("tail"), env=given, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def ages(streams: Streams) -> dict[str, int]:
    """How many seconds each connection is old, by its id, but for the test's own."""
    own = str(streams.client.client_id())
    found = streams.client.client_list()
    return {client["id"]: int(client["age"]) for client in found if client["id"] != own}


def quiet(streams: Streams, connected: set[str]) -> bool:
    """Whether all of these are older than the time-out; AssertionError where one is gone."""
    now = ages(streams)
    assert connected <= now.keys(), "a connection was cut"
    return min(now[one] for one in connected) > SOCKET_TIMEOUT_S + 1
