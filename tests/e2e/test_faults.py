"""One daemon, one server, one line between them, and fault after fault: each is survived."""

from __future__ import annotations

import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from filterd.streams.examination import RIGHTS
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Daemon, Streams
from tests.proxy import Proxy
from tests.servers import RedisServer
from tests.waiting import eventually

HANDED_OUT = 2048 + 512
"""What may be in flight, and one read more."""


@pytest.fixture(scope="module")
def server(embedded_binary: Path) -> Iterator[RedisServer]:
    with (
        tempfile.TemporaryDirectory(prefix="fd-") as folder,
        RedisServer(embedded_binary, Path(folder), tcp=True) as own,
    ):
        with own.client() as client:
            client.config_resetstat()
        yield own


@pytest.fixture(scope="module")
def line(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def there(server: RedisServer) -> Iterator[Streams]:
    with server.client() as client:
        yield Streams(client, f"faults-{uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def one(line: Proxy, there: Streams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon that has to live through all of them."""
    log = tmp_path_factory.mktemp("faults") / "log"
    prefix = there.input.removesuffix(":in")
    with Daemon(line.url, prefix, log, CLAIM_IDLE_S=1) as made:
        eventually(made.ready, "the daemon is ready", within_s=60)
        yield made
        assert made.process.poll() is None, made.log


def answered_once(streams: Streams, ids: list[bytes]) -> bool:
    """Whether each of these has one outcome. (Others are of earlier faults.)"""
    found = Counter(fields[b"entry"] for fields in streams.verdicts() + streams.dead_letters())
    assert max((found[id_] for id_ in ids), default=1) <= 1
    return all(found[id_] == 1 for id_ in ids)


def errors(daemon: Daemon, kind: str) -> float:
    return daemon.metric("filterd_redis_errors_total", kind=kind)


def test_connections_are_cut_and_killed(
    one: Daemon, there: Streams, line: Proxy, sample: list[str]
) -> None:
    ids: list[bytes] = []
    for _ in range(5):
        ids += there.publish(sample)
        eventually(there.pending, "entries in flight")
        line.cut()
        ids += there.publish(sample[:50])
        there.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    eventually(lambda: answered_once(there, ids), "all settled", within_s=60)
    assert errors(one, "away") >= 1


def test_a_line_dies_without_a_word(
    one: Daemon, there: Streams, line: Proxy, sample: list[str]
) -> None:
    before = errors(one, "timeout")
    line.stall()
    ids = there.publish(sample[:50])
    eventually(lambda: errors(one, "timeout") > before, "a time-out", within_s=60)
    eventually(lambda: not one.ready(), "not ready")
    line.cut()
    line.flow()
    eventually(lambda: answered_once(there, ids), "all settled", within_s=60)


def test_the_answer_to_a_settle_comes_too_late(
    one: Daemon, there: Streams, line: Proxy, sample: list[str]
) -> None:
    first = there.publish(sample[:1])
    eventually(lambda: answered_once(there, first), "the server knows the script", within_s=60)
    before, lost = errors(one, "timeout"), one.metric("filterd_settle_lost_total")
    line.keep_answers(there.output.encode())  # only settling names it
    ids = there.publish(sample[:20])
    eventually(lambda: errors(one, "timeout") > before, "a time-out", within_s=60)
    written = [fields[b"entry"] for fields in there.verdicts() if fields[b"entry"] in ids]
    assert written, "the server did what it was asked"
    line.flow()
    eventually(lambda: answered_once(there, ids), "all settled", within_s=60)
    eventually(lambda: one.metric("filterd_settle_lost_total") > lost, "settled again")
    assert answered_once(there, ids)


def test_everything_is_flushed(one: Daemon, there: Streams, sample: list[str]) -> None:
    for _ in range(2):
        there.publish(sample[:50])
        there.client.flushall()
        ids = there.publish(sample[:50])
        eventually(lambda ids=ids: answered_once(there, ids), "all settled", within_s=60)


def test_the_stream_is_evicted(one: Daemon, there: Streams, sample: list[str]) -> None:
    before = errors(one, "nogroup") + errors(one, "oom")
    there.publish(sample[:50])
    there.client.config_set("maxmemory-policy", "allkeys-random")
    there.client.config_set("maxmemory", "1")
    for number in range(1000):  # each write evicts what there is
        try:
            there.client.set(f"filler-{number}", "x")
        except redis.exceptions.OutOfMemoryError:
            break
        if not there.client.exists(there.input):
            break
    there.client.config_set("maxmemory", "0")
    there.client.config_set("maxmemory-policy", "noeviction")
    ids = there.publish(sample[:50])
    eventually(lambda: answered_once(there, ids), "all settled", within_s=60)
    assert errors(one, "nogroup") + errors(one, "oom") - before < 100


def test_errors_are_no_busy_loop(one: Daemon, there: Streams, sample: list[str]) -> None:
    there.client.delete(there.input)
    there.client.set(there.input, "no stream")
    eventually(lambda: errors(one, "wrongtype") >= 3, "errors")
    before = errors(one, "wrongtype")
    time.sleep(1.5)  # an upper bound: a slow machine makes fewer
    assert errors(one, "wrongtype") - before < 100
    there.client.delete(there.input)
    ids = there.publish(sample[:20])
    eventually(lambda: answered_once(there, ids), "all settled", within_s=60)


def test_the_clock_steps(one: Daemon, there: Streams, sample: list[str]) -> None:
    ahead = there.client.time()[0] * 1000 + 3_600_000
    ids = [there.client.xadd(there.input, {"text": "tomorrow"}, id=f"{ahead}-5")]
    ids += there.publish(sample[:20])  # from here on the server counts sequence numbers
    assert ids[-1].startswith(b"%d-" % ahead)
    eventually(lambda: answered_once(there, ids), "all settled", within_s=60)


def test_what_kills_every_consumer_is_put_aside(
    one: Daemon, there: Streams, sample: list[str]
) -> None:
    one.signal(signal.SIGSTOP)
    ids = there.publish(["this one kills", *sample[:20]])
    there.client.xreadgroup(there.group, "dead", {there.input: ">"})
    there.client.xclaim(
        there.input, there.group, "dead", 0, ids[:1], idle=60_000, retrycount=5, justid=True
    )
    there.client.xclaim(
        there.input, there.group, "dead", 0, ids[1:], idle=60_000, retrycount=1, justid=True
    )
    one.signal(signal.SIGCONT)
    eventually(lambda: answered_once(there, ids), "all settled", within_s=60)
    (letter,) = [letter for letter in there.dead_letters() if letter[b"entry"] == ids[0]]
    assert (letter[b"reason"], letter[b"deliveries"]) == (b"poison", b"6")


def test_only_commands_that_every_supported_server_has_were_sent(
    one: Daemon, there: Streams
) -> None:
    eventually(one.ready, "ready again")
    sent = {name.removeprefix("cmdstat_") for name in there.client.info("commandstats")}
    allowed = {"|".join(words[:2]).lower() for words in RIGHTS} | {w[0].lower() for w in RIGHTS}
    by_this_test = {
        *("client|kill", "flushall", "config|set", "xlen", "type", "del", "set", "auth", "hello"),
        *("client|setinfo", "client|setname", "select", "eval", "publish", "config|resetstat"),
    }
    assert sent - allowed - by_this_test == set()


def test_a_name_is_for_one_process_and_stays_with_it(
    daemon: MakeDaemon, streams: Streams, sample: list[str]
) -> None:
    first = daemon()
    second = daemon(wait=False)
    assert second.process.wait(60) == 2
    assert "runs as consumer one of group" in second.log
    assert second.log.count("filterd: ") == 1
    ids = streams.publish(sample)
    eventually(lambda: streams.outcomes() > 0, "begun")
    first.kill()
    third = daemon()  # the name is free soon after
    eventually(lambda: streams.exactly_once(ids), "all settled", within_s=60)
    assert [info["name"] for info in _consumers(streams)] == [b"one"]
    assert third.stop() == 0


def test_a_stopped_daemon_loses_its_entries_and_comes_back(
    daemon: MakeDaemon, streams: Streams, sample: list[str]
) -> None:
    stopped = daemon(CONSUMER="one", CLAIM_IDLE_S=1, DUPLICATE_CACHE=0)
    ids = streams.publish(sample * 15)
    eventually(lambda: streams.outcomes() > 0, "begun")
    handed_out = streams.pending()
    stopped.signal(signal.SIGSTOP)
    assert max(handed_out, streams.pending()) <= HANDED_OUT < len(ids)
    daemon(CONSUMER="two", CLAIM_IDLE_S=1)
    eventually(lambda: streams.exactly_once(ids), "all settled by the other", within_s=90)
    stopped.signal(signal.SIGCONT)
    more = streams.publish(sample[:50])
    eventually(lambda: streams.exactly_once([*ids, *more]), "nothing twice", within_s=60)
    assert stopped.stop() == 0


def _consumers(streams: Streams) -> list[dict[str, bytes]]:
    found: list[dict[str, bytes]] = streams.client.xinfo_consumers(streams.input, streams.group)
    return found
