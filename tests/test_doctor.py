"""The doctor on real servers that are configured wrongly: each fault is named, with its remedy."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from filterd import doctor
from filterd.settings import Settings
from filterd.streams import examination
from filterd.streams.examination import RIGHTS, Examination
from filterd.streams.lease import lease_key
from filterd.streams.names import StreamNames
from filterd.streams.presence import daemons_key
from tests.commands import filterd
from tests.servers import RedisServer

NAMES = StreamNames("in", "out", "dead", "g")
OFTEN_MADE_WRONG = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "timeout": "0",
}


@pytest.fixture(scope="module")
def server(redis_server: RedisServer) -> Iterator[RedisServer]:
    """A server of the same kind, whose settings these tests change and put back."""
    with (
        tempfile.TemporaryDirectory(prefix="fd-") as folder,
        RedisServer(redis_server.program, Path(folder), tcp=True) as own,
    ):
        yield own


@pytest.fixture
def own(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client
        for name, value in OFTEN_MADE_WRONG.items():
            client.config_set(name, value)
        client.delete(*(client.keys("*") or ["-"]))


def lines(client: redis.Redis, level: str = "change") -> list[str]:
    """Topic and words of the findings of a level."""
    found = Examination(client, NAMES, "me").findings()
    return [f"{finding.topic}: {finding.says}" for finding in found if finding.level == level]


def test_a_server_that_is_well(own: redis.Redis) -> None:
    own.config_set("appendfsync", "always")
    own.xgroup_create("in", "g", "0", mkstream=True)
    assert lines(own) == []
    assert any("appendfsync is always" in line for line in lines(own, "ok"))
    assert f"rights: ACL allows all {len(RIGHTS)} commands" in lines(own, "ok")
    own.xadd("in", {"text": "x"})
    assert "groups: group g: consumers 0, pending 0, unread 1" in lines(own, "ok")
    own.xreadgroup("g", "me", {"in": ">"})
    assert "groups: group g: consumers 1, pending 1, unread 0" in lines(own, "ok")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"appendonly": "no"}, "persistence: none: a restart loses every message"),
        ({"appendonly": "no", "save": "900 1"}, "persistence: snapshots only"),
        ({"appendfsync": "no"}, "persistence: appendfsync is no: a crash may lose half a minute"),
        ({"maxmemory-policy": "allkeys-lru"}, "eviction: maxmemory-policy allkeys-lru deletes"),
        ({"maxmemory": "1048576"}, "memory: "),
        ({"timeout": "5"}, "time-outs: timeout 5 cuts quiet clients off"),
    ],
)
def test_a_server_that_is_set_up_wrongly(
    own: redis.Redis, config: dict[str, str], words: str
) -> None:
    for name, value in config.items():
        own.config_set(name, value)
    (line,) = lines(own)
    assert line.startswith(words)


def test_keys_of_the_wrong_type(own: redis.Redis) -> None:
    own.set("in", "x")
    own.rpush("out", "x")
    own.xadd("{in}:watermark:g", {"a": "b"})
    wrong = [line for line in lines(own) if line.startswith("types")]
    assert [line.split(",")[0] for line in wrong] == [
        "types: in is a string",
        "types: out is a list",
        "types: {in}:watermark:g is a stream",
    ]


def test_entries_whose_message_is_in_another_field(own: redis.Redis) -> None:
    own.xgroup_create("in", "g", "0", mkstream=True)
    own.xadd("in", {"body": "hello", "ticket": "7"})
    own.xadd("in", {"body": "hello", "ticket": "8"})
    own.xadd("in", {"body\n": "hello"})
    (said,) = [line for line in lines(own) if line.startswith("fields")]
    assert said == (
        "fields: 3 of the newest 3 entries of in have no field text, but body, body\n, ticket: "
        "set FILTERD_TEXT_FIELD to what holds the message"
    )
    own.xadd("in", {"text": "hello"})
    assert not [line for line in lines(own) if line.startswith("fields")]
    assert any(line.startswith("fields: 3 of the newest 4") for line in lines(own, "note"))


def test_keys_of_daemons_at_work_are_of_their_types(own: redis.Redis) -> None:
    own.xgroup_create("in", "g", "0", mkstream=True)
    own.hset(daemons_key("in", "g"), "me", "{}")
    own.set(lease_key("in", "g", "me"), "x")
    assert not [line for line in lines(own) if line.startswith("types")]


def test_groups_that_hold_back_trimming(own: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    for group in ("g", "lags", "abandoned"):
        own.xgroup_create("in", group, "0", mkstream=True)
    own.xadd("in", {"text": "x"}, id="1-0")
    own.xreadgroup("lags", "me", {"in": ">"})
    own.xreadgroup("g", "gone", {"in": ">"})
    (line,) = lines(own)
    assert line.startswith("groups: group abandoned holds back the trimming of in and nobody")
    assert "XGROUP DESTROY" in line
    assert any("group lags holds back" in note for note in lines(own, "note"))
    monkeypatch.setattr(examination, "GONE_MS", -1)
    assert any("gone holds 1 entries and is gone" in line for line in lines(own))


def test_each_right_that_is_missing(own: redis.Redis, server: RedisServer) -> None:
    rights = ("on", ">secret", "~*", "+@all", "-xclaim", "-config")
    own.execute_command("ACL", "SETUSER", "limited", "reset", *rights)
    with redis.Redis.from_url(f"redis://limited:secret@127.0.0.1:{server.port}") as limited:
        assert lines(limited) == ["rights: ACL refuses XCLAIM in g c 0 0-1"]
        assert sum("could not be examined" in line for line in lines(limited, "note")) == 3
        streams = ("~in", "~out", "~dead", "~*:watermark:*")
        own.execute_command("ACL", "SETUSER", "limited", "resetkeys", *streams, "+xclaim")
        wrong = lines(limited)
        assert "rights: ACL refuses SET {in}:consumer:g:me x PX 1" in wrong
        assert not any("watermark" in line for line in wrong)
        own.execute_command("ACL", "SETUSER", "limited", "-evalsha", "-eval")
        assert any(line.startswith("rights: could not be examined") for line in lines(limited))


def test_a_right_that_nobody_has_to_have(own: redis.Redis, server: RedisServer) -> None:
    rights = ("on", ">secret", "~*", "+@all", "-client|tracking")
    own.execute_command("ACL", "SETUSER", "limited", "reset", *rights)
    with redis.Redis.from_url(f"redis://limited:secret@127.0.0.1:{server.port}") as limited:
        assert lines(limited) == []
        (line,) = (line for line in lines(limited, "note") if line.startswith("rights"))
        assert line.startswith("rights: ACL refuses CLIENT TRACKING ON: ")


def test_a_clock_that_is_off(own: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    here = examination.time.time
    monkeypatch.setattr(examination.time, "time", lambda: here() - 3600)
    (line,) = lines(own)
    assert line.startswith("clock: the server's is +3600.")


def test_a_replica_is_told(own: redis.Redis, server: RedisServer, short_path: Path) -> None:
    with RedisServer(server.program, short_path, tcp=True) as second, second.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", str(server.port))
        assert any(line.startswith("role: this is a replica") for line in lines(client))


def test_the_command(server: RedisServer, own: redis.Redis, tmp_path: Path) -> None:
    well = filterd("doctor", redis_url=server.url)
    assert (well.code, well.err) == (0, "")
    assert all(line.split()[0] in ("ok", "note") for line in well.out.splitlines())
    for topic in ("version", "artifact", "device", "disk"):
        assert f" {topic} " in well.out
    precise = filterd("doctor", redis_url=server.url, precision="fp32").out.splitlines()
    assert "ok      device       cpu, fp32" in precise
    own.config_set("maxmemory-policy", "allkeys-lru")
    wrong = filterd("doctor", "--json", redis_url=server.url, artifact=str(tmp_path / "none"))
    found = json.loads(wrong.out)
    assert (wrong.code, found["sound"]) == (1, False)
    changes = {one["topic"] for one in found["findings"] if one["level"] == "change"}
    assert changes == {"eviction", "artifact"}


def test_a_directory_that_was_not_there_is_told(short_path: Path) -> None:
    said = [one.says for one in doctor.examine(Settings.load(redis_url=f"embedded:{short_path}/x"))]
    assert said[0] == f"{short_path}/x was not there: it is made, and holds nothing"


def test_what_a_daemon_may_run_in_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterd.engine.candidates", lambda *_: ["fp32", "bf16", "int8"])
    said = [one.says for one in doctor.examine(Settings.load(redis_url="redis://127.0.0.1:1"))]
    assert "cpu, fp32; bf16 or int8 where a daemon's start finds it faster" in said


def test_no_server_is_a_finding_and_the_rest_is_examined() -> None:
    settings = Settings.load(redis_url="redis://127.0.0.1:1")
    findings = list(doctor.examine(settings))
    assert findings[0].topic == "redis"
    assert "cannot be reached" in findings[0].says
    assert [finding.topic for finding in findings[1:]] == ["artifact", "device", "disk"]
    assert not doctor.sound(findings)


def test_each_partition_is_examined(own: redis.Redis, server: RedisServer) -> None:
    names = {f"{kind}_stream": f"{{part-*}}:{kind}" for kind in ("input", "output", "dead")}
    own.set("{part-2}:output", "no stream")
    own.xgroup_create("{part-1}:input", "somebody else", "0", mkstream=True)
    own.xadd("{part-1}:input", {"text": "not read by them"})
    settings = Settings.load(redis_url=server.url, partitions=3, **names)
    found = list(doctor.examine(settings))
    assert sorted(one.says for one in found if one.level == "change") == [
        "{part-1}:input: group somebody else holds back the trimming of {part-1}:input "
        "and nobody reads it: if nobody needs it, XGROUP DESTROY it",
        "{part-2}:input: {part-2}:output is a string, not a stream: rename it, or set another name",
    ]
    assert len([one for one in found if one.topic == "version"]) == 1, "once, of all of them"
    assert "{part-0}:input, {part-1}:input: every key is of its type" in " ".join(
        one.says for one in found
    )
