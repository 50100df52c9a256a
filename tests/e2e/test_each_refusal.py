"""Every word that a server refuses with, said by a real one to one daemon, which rides all out."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Daemon, Streams
from tests.e2e.test_faults import answered_once, errors
from tests.servers import RedisServer, free_port
from tests.waiting import eventually

KEYS_TO_LOAD = 20_000
LOADS_SLOWLY = ("--key-load-delay", "400")
"""Microseconds for each command in the append-only file: eight seconds in all."""


@dataclass(frozen=True, slots=True)
class Place:
    """A server that refuses; the test talks to it as a user that nothing is refused."""

    server: RedisServer
    client: redis.Redis

    def turn_away(self) -> None:
        """End the connections of all others: who is known already is not asked again."""
        self.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def limit(self, *rights: str) -> None:
        self.client.execute_command("ACL", "SETUSER", "daemon", *rights)

    def config(self, name: str, value: object) -> None:
        self.client.config_set(name, str(value))


Refuse = Callable[[Place], AbstractContextManager[None]]


@contextmanager
def out_of_memory(place: Place) -> Iterator[None]:
    place.config("maxmemory", 1)
    yield
    place.config("maxmemory", 0)


@contextmanager
def too_few_replicas(place: Place) -> Iterator[None]:
    place.config("min-replicas-to-write", 1)
    yield
    place.config("min-replicas-to-write", 0)


@contextmanager
def no_permission(place: Place) -> Iterator[None]:
    place.limit("-evalsha")
    yield
    place.limit("+evalsha")


@contextmanager
def another_password(place: Place) -> Iterator[None]:
    place.limit("resetpass", ">another")
    place.turn_away()
    yield
    place.limit("resetpass", ">secret")


@contextmanager
def a_replica_of_nobody(place: Place) -> Iterator[None]:
    place.client.replicaof("127.0.0.1", free_port())
    yield
    place.client.replicaof("NO", "ONE")


@contextmanager
def a_replica_that_may_not_serve(place: Place) -> Iterator[None]:
    place.config("replica-serve-stale-data", "no")
    with a_replica_of_nobody(place):
        yield
    place.config("replica-serve-stale-data", "yes")


@contextmanager
def a_script_without_end(place: Place) -> Iterator[None]:
    place.config("lua-time-limit", 10)

    def run() -> None:
        with place.server.client() as client, suppress(redis.ResponseError):
            client.execute_command("AUTH", "tester", "tester")
            client.eval("while true do end", 0)

    running = threading.Thread(target=run)
    running.start()
    yield
    place.client.script_kill()
    running.join(30)


@contextmanager
def a_snapshot_that_fails(place: Place) -> Iterator[None]:
    in_its_place = place.server.directory / "dump.rdb"
    in_its_place.mkdir()
    place.config("save", "3600 1")
    place.client.bgsave()
    eventually(lambda: _snapshot(place) == "err", "the snapshot has failed")
    yield
    in_its_place.rmdir()
    place.client.bgsave()
    eventually(lambda: _snapshot(place) == "ok", "the next one has not")
    place.config("save", "")


@contextmanager
def a_slow_start(place: Place) -> Iterator[None]:
    pipe = place.client.pipeline(transaction=False)
    for number in range(KEYS_TO_LOAD):
        pipe.set(f"filler-{number}", "")
    pipe.execute()
    place.server.stop()
    starting = threading.Thread(target=place.server.start, args=LOADS_SLOWLY)
    starting.start()
    yield
    starting.join(120)


def _snapshot(place: Place) -> str:
    said = place.client.info("persistence")
    return "" if said["rdb_bgsave_in_progress"] else str(said["rdb_last_bgsave_status"])


@pytest.fixture(scope="module")
def place(redis_server: RedisServer) -> Iterator[Place]:
    """A server of each kind."""
    everything = ("~*", "&*", "+@all")
    acl = (
        *("--user", "tester", "on", ">tester", *everything),
        *("--user", "daemon", "on", ">secret", *everything),
    )
    with (
        tempfile.TemporaryDirectory(prefix="fd-") as folder,
        RedisServer(redis_server.program, Path(folder), tcp=True, config=acl) as server,
        redis.Redis.from_url(f"redis://tester:tester@127.0.0.1:{server.port}") as client,
    ):
        yield Place(server, client)


@pytest.fixture(scope="module")
def there(place: Place) -> Streams:
    return Streams(place.client, f"refused-{uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def one(place: Place, there: Streams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon that each of them is said to."""
    log = tmp_path_factory.mktemp("refused") / "log"
    url = f"redis://daemon:secret@127.0.0.1:{place.server.port}/0"
    prefix = there.input.removesuffix(":in")
    with Daemon(url, prefix, log, CLAIM_IDLE_S=1, DUPLICATE_CACHE=0) as made:
        eventually(made.ready, "the daemon is ready", within_s=60)
        yield made
        assert made.process.poll() is None, made.log
        assert "secret" not in made.log


@pytest.mark.parametrize(
    ("refuse", "kind", "word"),
    [
        (out_of_memory, "oom", "OOM"),
        (too_few_replicas, "noreplicas", "NOREPLICAS"),
        (no_permission, "noperm", "NOPERM"),
        (another_password, "auth", "WRONGPASS"),
        (a_replica_of_nobody, "readonly", "READONLY"),
        (a_replica_that_may_not_serve, "masterdown", "MASTERDOWN"),
        (a_script_without_end, "busy", "BUSY"),
        (a_snapshot_that_fails, "misconf", "MISCONF"),
        (a_slow_start, "loading", "LOADING"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isupper() else "",
)
def test_a_daemon_rides_it_out(
    refuse: Refuse,
    kind: str,
    word: str,
    place: Place,
    one: Daemon,
    there: Streams,
    sample: list[str],
) -> None:
    eventually(one.ready, "ready")
    before = errors(one, kind)
    ids = there.publish(sample)
    eventually(there.pending, "entries in flight")
    one.signal(signal.SIGSTOP)
    with refuse(place):
        one.signal(signal.SIGCONT)
        eventually(lambda: errors(one, kind) > before, word, within_s=60)
        eventually(lambda: not one.ready(), "not ready")
        assert f"Redis refuses: {word}" in one.log
    ids += there.publish(sample[:20])
    eventually(lambda: answered_once(there, ids) and not there.pending(), "all once", within_s=60)
    eventually(one.ready, "ready again")


def test_a_daemon_without_a_password_waits_until_none_is_asked_for(
    place: Place, daemon_of: MakeDaemon, prefix: str, sample: list[str]
) -> None:
    streams = Streams(place.client, prefix)
    one = daemon_of(place.server.url)
    ids = streams.publish(sample[:20])
    place.client.execute_command("ACL", "SETUSER", "default", ">secret")
    place.turn_away()
    ids += streams.publish(sample[20:40])
    eventually(lambda: errors(one, "auth") > 0, "NOAUTH, or a protocol error", within_s=60)
    assert "FILTERD_REDIS_URL gives the user and the password" in one.log
    place.client.execute_command("ACL", "SETUSER", "default", "nopass")
    eventually(lambda: streams.exactly_once(ids), "all settled", within_s=60)


def test_a_slot_that_nobody_serves(
    redis_server: RedisServer,
    short_path: Path,
    daemon_of: MakeDaemon,
    prefix: str,
    sample: list[str],
) -> None:
    alone = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    streams = {f"{kind.upper()}_STREAM": f"{{{prefix}}}:{kind}" for kind in ("input", "output")}
    with (
        RedisServer(redis_server.program, short_path, tcp=True, config=alone) as server,
        server.client() as client,
    ):
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: _whole(client), "the cluster of one node is whole")
        there = Streams(client, f"{{{prefix}}}")
        there.group = f"{prefix}-group"
        there.input, there.output = streams.values()
        one = daemon_of(
            server.url.removesuffix("/0"), REDIS_CLUSTER=1, DEAD_STREAM=there.dead, **streams
        )
        ids = there.publish(sample[:50])
        slot = client.execute_command("CLUSTER", "KEYSLOT", there.input)
        client.execute_command("CLUSTER", "DELSLOTS", slot)
        eventually(lambda: errors(one, "clusterdown") > 0, "CLUSTERDOWN", within_s=60)
        assert "Redis refuses: CLUSTERDOWN" in one.log
        client.execute_command("CLUSTER", "ADDSLOTS", slot)
        eventually(lambda: _whole(client), "whole again")
        ids += there.publish(sample[50:60])
        eventually(lambda: there.exactly_once(ids), "all settled", within_s=60)


def _whole(client: redis.Redis) -> bool:
    return bool(client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
