"""Reading verdicts: from where, how many, with which texts, and through an outage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from filterd.errors import UnavailableError
from filterd.streams.client import open_client
from filterd.tail import LAST, Seen, View, as_json, as_line, chosen, following
from tests.servers import RedisServer


def add(client: redis.Redis, stream: str, numbers: range) -> None:
    for number in numbers:
        fields = {"entry": f"{number}-0", "label": "ham", "score": "0.012345", "threshold": "0.5"}
        client.xadd(stream, fields, id=f"{number}-1")


def entries(chunks: Iterator[list[Seen]]) -> list[str]:
    return [seen.entry for chunk in chunks for seen in chunk]


@pytest.fixture
def view(client: redis.Redis, prefix: str) -> View:
    add(client, prefix, range(1, 21))
    return View(client, prefix)


def test_without_following_the_last_ones_are_shown(view: View) -> None:
    shown = entries(chosen([view], from_start=False, follow=False, count=None))
    assert shown == [f"{number}-0" for number in range(21 - LAST, 21)]
    assert entries(chosen([view], from_start=False, follow=False, count=2)) == ["19-0", "20-0"]


def test_from_the_start(view: View) -> None:
    assert len(entries(chosen([view], from_start=True, follow=False, count=None))) == 20
    assert entries(chosen([view], from_start=True, follow=True, count=2)) == ["1-0", "2-0"]


def test_following_begins_after_what_is_there(view: View) -> None:
    chunks = following([view], [view.end()])
    add(view.client, view.stream, range(30, 32))
    assert [seen.entry for seen in next(chunks)] == ["30-0", "31-0"]


def test_stream_that_is_not_there_yet_is_empty(client: redis.Redis, prefix: str) -> None:
    view = View(client, prefix)
    assert view.end() == "0"
    assert entries(chosen([view], from_start=True, follow=False, count=None)) == []


def test_texts_are_looked_up(client: redis.Redis, prefix: str) -> None:
    add(client, prefix, range(1, 3))
    client.xadd(f"{prefix}:in", {"text": "two\nlines"}, id="2-0")
    seen = View(client, prefix, f"{prefix}:in").latest(2)
    assert [verdict.text for verdict in seen] == ["", "two\nlines"]
    assert as_line(seen[1]) == "2-0\tham\t0.012345\ttwo\\nlines"
    assert json.loads(as_json(seen[1])) == {
        "entry": "2-0",
        "label": "ham",
        "score": 0.012345,
        "threshold": 0.5,
        "text": "two\nlines",
    }


def test_foreign_entries_do_no_harm(client: redis.Redis, prefix: str) -> None:
    client.xadd(prefix, {b"\xff": b"\xfe"}, id="1-0")
    (seen,) = View(client, prefix, f"{prefix}:in").latest(1)
    assert as_line(seen) == "\t?\t?\t"
    assert "score" not in as_json(seen)


def test_outage_is_waited_out(
    embedded_binary: Path, short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        RedisServer(embedded_binary, short_path) as server,
        open_client(server.url) as client,
    ):
        add(client, "verdicts", range(1, 3))
        waits: list[float] = []

        def come_back(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                server.start()
                with server.client() as other:
                    add(other, "verdicts", range(3, 4))

        chunks = following([View(client, "verdicts")], ["0"], come_back)
        assert len(next(chunks)) == 2
        server.stop()
        assert [seen.entry for seen in next(chunks)] == ["3-0"]
    assert waits == [0.5, 1.0, 2.0]
    assert capsys.readouterr().err.count("trying again") == 3


def test_what_does_not_pass_ends_it(client: redis.Redis, prefix: str) -> None:
    client.set(prefix, "no stream")
    with pytest.raises(UnavailableError, match="WRONGTYPE"):
        next(following([View(client, prefix)], ["0"]))
