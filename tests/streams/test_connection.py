"""Connections: no wait outlasts the line, and every refusal has its word."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd import tail
from filterd.errors import GroupMissingError, UnavailableError
from filterd.streams import connection
from filterd.streams.connection import refusal
from tests.servers import RedisServer


def test_no_wait_on_the_server_is_longer_than_the_time_out() -> None:
    assert tail.BLOCK_MS < connection.SOCKET_TIMEOUT_S * 1000


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "oom"),
        ("READONLY You can't write against a read only replica.", "readonly"),
        ("LOADING Redis is loading the dataset in memory", "loading"),
        ("BUSY Redis is busy running a script.", "busy"),
        ("CLUSTERDOWN Hash slot not served", "clusterdown"),
        ("MASTERDOWN Link with MASTER is down", "masterdown"),
        ("NOAUTH Authentication required.", "auth"),
        ("ERR Protocol error: unauthenticated multibulk length", "auth"),
        ("WRONGPASS invalid username-password pair", "auth"),
        ("ERR Client sent AUTH, but no password is set", "auth"),
        ("NOPERM this user has no permissions to run the 'xadd' command", "noperm"),
        ("MISCONF Redis is configured to save RDB snapshots", "misconf"),
    ],
)
def test_each_refusal_has_its_word(said: str, kind: str) -> None:
    error = refusal(said)
    assert error.kind == kind
    assert kind in connection.KINDS
    assert "\n" not in str(error)


def test_a_password_that_nobody_set_is_refused(redis_server: RedisServer, tmp_path: Path) -> None:
    with RedisServer(redis_server.program, tmp_path / "redis", tcp=True) as server:
        url = f"redis://:secret@127.0.0.1:{server.port}"
        with (
            pytest.raises(UnavailableError, match=r"^Redis refuses: .*AUTH") as caught,
            connection.translated(),
        ):
            connection.connect_blocking(url).ping()
    assert caught.value.kind == "auth"


def test_a_missing_group_can_be_made_again() -> None:
    assert isinstance(refusal("NOGROUP No such key 'in' or consumer group"), GroupMissingError)
