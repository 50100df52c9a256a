"""Publishing: fields, ids, pace, and what is certain after an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from filterd.errors import DataError, UnavailableError
from filterd.publish import CATCH_UP_S, Message, from_rows, paced, publish
from filterd.streams import connection
from filterd.streams.client import open_client
from filterd.tables import Row
from tests.proxy import Proxy
from tests.servers import RedisServer


def test_messages_are_entries_in_order(client: redis.Redis, prefix: str) -> None:
    batches = [[Message("one", "own-1"), Message("zwei ü")], [Message("")]]
    ids = [entry for batch in publish(client, prefix, batches) for entry in batch]
    assert client.xrange(prefix) == [
        (ids[0].encode(), {b"text": b"one", b"id": b"own-1"}),
        (ids[1].encode(), {b"text": "zwei ü".encode()}),
        (ids[2].encode(), {b"text": b""}),
    ]


def test_refused_messages_are_counted(client: redis.Redis, prefix: str) -> None:
    client.set(prefix, "no stream")
    with pytest.raises(UnavailableError, match=r"WRONGTYPE.*; 0 published"):
        list(publish(client, prefix, [[Message("one")]]))


def test_lost_server_says_what_is_certain(embedded_binary: Path, short_path: Path) -> None:
    with (
        RedisServer(embedded_binary, short_path) as server,
        open_client(server.url) as client,
    ):
        ids = publish(client, "in", [[Message("one")], [Message("two"), Message("three")]])
        next(ids)
        server.kill()
        with pytest.raises(UnavailableError, match="1 published before, the next 2 perhaps"):
            next(ids)


def test_an_answer_that_comes_too_late_is_a_perhaps_and_nothing_is_sent_again(
    redis_server: RedisServer, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", 0.5)
    with (
        RedisServer(redis_server.program, short_path, tcp=True) as server,
        Proxy(server.port) as line,
        server.client() as direct,
        open_client(line.url) as client,
    ):
        batches = [[Message("one")], [Message("two"), Message("three")], [Message("four")]]
        ids = publish(client, "in", batches)
        next(ids)
        line.keep_answers(b"three")
        with pytest.raises(UnavailableError, match="in time; 1 published before, the next 2 perh"):
            next(ids)
        assert direct.xlen("in") == 3, "they are there, each once"
        line.flow()
        assert client.ping()
        assert direct.xlen("in") == 3
        sent = direct.info("commandstats")["cmdstat_xadd"]["calls"]
        assert sent == 3, "no XADD was sent again"


def test_text_without_utf8_is_refused() -> None:
    with pytest.raises(DataError, match="not UTF-8"):
        Message("\udcff").fields()


def test_rows_bring_their_ids() -> None:
    rows = [Row("line 2", "a", {"text": "a", "id": 7}), Row("line 3", "b", {"text": "b"})]
    assert from_rows(rows) == [Message("a", "7"), Message("b")]


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(st.lists(st.integers(0, 40), max_size=8), st.floats(0.5, 10_000))
def test_pace_is_kept_and_nothing_lost(sizes: list[int], rate: float) -> None:
    clock = Clock()
    batches = [[Message(f"{size}-{n}") for n in range(size)] for size in sizes]
    left: list[tuple[float, Message]] = []
    for part in paced(batches, rate, clock, clock.sleep):
        left += [(clock.now, message) for message in part]
    assert [message for _, message in left] == [m for batch in batches for m in batch]
    for number, (at, _) in enumerate(left):
        assert at - 100.0 >= number / rate - 1e-6


def test_late_messages_catch_up_a_second_at_most() -> None:
    clock = Clock()

    def slow() -> list[list[Message]]:
        clock.now += 3600
        return [[Message("x")] * 1000]

    parts = paced((batch for batch in slow()), 10.0, clock, clock.sleep)
    clock.now += 3600
    assert len(next(iter(parts))) == 1
    clock.now += 3600
    assert len(next(iter(parts))) == int(10 * CATCH_UP_S) + 1


def test_without_a_rate_batches_pass_unchanged() -> None:
    batches = [[Message("a")], [Message("b"), Message("c")]]
    assert list(paced(batches, None)) == batches
