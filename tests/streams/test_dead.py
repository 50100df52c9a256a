"""Dead letters: listed without what they carry, replayed byte for byte and once, or dropped."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from filterd.entries import DeadLetter, Letter
from filterd.errors import UnavailableError
from filterd.streams.audit import audit
from filterd.streams.connection import connect
from filterd.streams.dead import DeadLetters
from filterd.streams.names import StreamNames
from filterd.streams.settling import Settler
from tests.commands import Ended, filterd

EXACT = """
    local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
    return found[1][2]"""
"""An entry's names and values in order, doubled names included: redis-py makes a dict of them."""


@dataclass
class Morgue:
    """Streams of one test, whose letters are made as the daemon makes them."""

    client: redis.Redis
    names: StreamNames
    url: str

    @property
    def letters(self) -> DeadLetters:
        return DeadLetters(self.client, self.names, 1000)

    async def bury(self, *parts: bytes, reason: str = "poison") -> tuple[str, Letter]:
        """An entry of these names and values, its letter settled: the entry's id and the letter."""
        names = self.names
        command: Any = self.client.execute_command
        id_ = command("XADD", names.input, "*", *parts).decode()
        if not self.client.xinfo_groups(names.input):
            self.client.xgroup_create(names.input, names.group, "0")
        self.client.xreadgroup(names.group, "me", {names.input: ">"})
        asynchronous = connect(self.url)
        streams = (names.input, names.output, names.dead)
        settler = Settler(asynchronous, names.group, streams, 1000)
        await settler.settle([DeadLetter(id_, reason, "why it failed", 3)])
        await asynchronous.aclose()
        return id_, list(self.letters.all())[-1]

    def exact(self, id_: str) -> list[bytes]:
        found: list[bytes] = self.client.eval(EXACT, 1, self.names.input, id_)
        return found

    def audited(self) -> dict[str, int]:
        report = audit(self.client, self.names, 1000)
        assert report.sound, report.findings
        return {"closed": report.closed, "dead": report.dead_letters, "new": report.undelivered}

    def command(self, *arguments: str) -> Ended:
        return filterd(
            "dead",
            *arguments,
            redis_url=self.url,
            input_stream=self.names.input,
            dead_stream=self.names.dead,
            group=self.names.group,
        )


@pytest.fixture
def morgue(client: redis.Redis, prefix: str, redis_url: str) -> Iterator[Morgue]:
    names = StreamNames(f"{prefix}:in", f"{prefix}:out", f"{prefix}:dead", "g")
    yield Morgue(client, names, redis_url)
    client.delete(names.input, names.dead, names.closed)


EVERY = bytes(range(256))
PLAIN = (b"text", EVERY, b"", b"", EVERY, b"x", b"same", b"1", b"same", b"2", b"s:rest", b"3")


@pytest.mark.parametrize("count", [0, 3500, 3501, 3900, 3901, 6000])
async def test_a_replayed_message_is_what_it_was(morgue: Morgue, count: int) -> None:
    wide = [part for n in range(count) for part in (b"\xff%d" % n, bytes([n % 256]) * (n % 40))]
    parts = wide or list(PLAIN)
    old, letter = await morgue.bury(*parts)
    assert (letter.entry, letter.reason, letter.detail) == (old, "poison", "why it failed")
    assert (letter.deliveries, morgue.letters.find(letter.id)) == (3, letter)
    carried = morgue.letters.message(letter.id)
    assert [part for pair in carried for part in pair] == parts
    new = morgue.letters.replay(letter)
    assert new is not None
    assert morgue.exact(new) == parts
    assert morgue.client.xlen(morgue.names.dead) == 0
    assert morgue.audited() == {"closed": 1, "dead": 0, "new": 1}
    ((_, word),) = morgue.client.xrange(morgue.names.closed)
    assert (word[b"entry"], word[b"action"]) == (old.encode(), b"replayed")
    assert (word[b"as"], word[b"letter"]) == (new.encode(), letter.id.encode())
    assert morgue.letters.replay(letter) is None
    assert morgue.client.xlen(morgue.names.input) == 2


async def test_a_dropped_letter_leaves_word_and_nothing_else(morgue: Morgue) -> None:
    _, letter = await morgue.bury(*PLAIN)
    assert morgue.letters.drop(letter)
    assert not morgue.letters.drop(letter)
    assert morgue.letters.replay(letter) is None
    assert morgue.audited() == {"closed": 1, "dead": 0, "new": 0}


@pytest.mark.parametrize("count", [1, 4500], ids=["narrow", "wide"])
async def test_of_many_who_replay_at_once_one_does(morgue: Morgue, count: int) -> None:
    made = [await morgue.bury(*[b"f%d" % n for n in range(2 * count)]) for _ in range(8)]
    answers: list[str | None] = []

    def replay_all() -> None:
        with redis.Redis.from_url(morgue.url) as client:
            letters = DeadLetters(client, morgue.names, 1000)
            answers.extend(letters.replay(letter) for _, letter in made)

    threads = [threading.Thread(target=replay_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len([answer for answer in answers if answer]) == len(made)
    assert morgue.audited() == {"closed": 8, "dead": 0, "new": 8}


@pytest.mark.parametrize("count", [1, 4500], ids=["narrow", "wide"])
async def test_a_refused_replay_keeps_the_letter(morgue: Morgue, count: int) -> None:
    _, letter = await morgue.bury(*[b"f%d" % n for n in range(2 * count)])
    morgue.client.delete(morgue.names.input)
    morgue.client.set(morgue.names.input, "no stream")
    with pytest.raises(UnavailableError, match="WRONGTYPE"):
        morgue.letters.replay(letter)
    morgue.client.delete(morgue.names.input)
    morgue.client.set(morgue.names.closed, "no stream")
    with pytest.raises(UnavailableError, match="WRONGTYPE"):
        morgue.letters.replay(letter)
    assert morgue.client.xlen(morgue.names.input) == 0
    assert list(morgue.letters.all()) == [letter]
    morgue.client.delete(morgue.names.closed)
    assert morgue.letters.replay(letter)


async def test_a_letter_of_a_partition_goes_back_to_its_own(morgue: Morgue, prefix: str) -> None:
    morgue.client.xadd(
        morgue.names.dead, {"entry": "5-0", "stream": f"{prefix}:in7", "field:text": "hello"}
    )
    (letter,) = morgue.letters.all()
    assert morgue.letters.replay(letter)
    ((_, fields),) = morgue.client.xrange(f"{prefix}:in7")
    assert fields == {b"text": b"hello"}


async def test_the_commands_choose_and_ask(morgue: Morgue) -> None:
    secret = b"swordfish-4711"
    _, poison = await morgue.bury(b"text", secret, b"id", b"7")
    _, broken = await morgue.bury(b"text", b"\xff" + secret, reason="not-utf8")
    _, other = await morgue.bury(b"body", secret, reason="no-text")

    listed = morgue.command("list")
    lines = [line.split("\t") for line in listed.out.splitlines()]
    assert [(line[0], line[1]) for line in lines] == [
        (poison.id, "poison"),
        (broken.id, "not-utf8"),
        (other.id, "no-text"),
    ]
    assert (lines[0][3], lines[0][5]) == ("3", "why it failed")
    (found,) = map(
        json.loads, morgue.command("list", "--json", "--reason", "poison").out.splitlines()
    )
    assert (found["id"], found["entry"], found["carried"]) == (poison.id, poison.entry, 33)
    shown = morgue.command("show", poison.id)
    assert "  text\t14 bytes" in shown.out
    for ended in (listed, shown):
        assert secret.decode() not in ended.out + ended.err
    assert "  text\t\\xffswordfish-4711" in morgue.command("show", broken.id, "--text").out

    for arguments, message in (
        (("replay", "--yes"), "say which"),
        (("drop", poison.id, "--all", "--yes"), "either"),
        (("replay", "--all"), "give --yes"),
        (("drop", "nonsense", "--yes"), "no dead letter's id"),
    ):
        refused = morgue.command(*arguments)
        assert refused.code == 2
        assert message in refused.error
    assert "no dead letter 1-0" in morgue.command("show", "1-0").error
    assert len(list(morgue.letters.all())) == 3

    done = morgue.command("replay", "--reason", "poison", "--reason", "no-text", "--yes")
    assert (done.code, done.err) == (0, "replay: 2 done\n")
    assert [line.split("\t")[0] for line in done.out.splitlines()] == [poison.id, other.id]
    assert morgue.command("drop", broken.id, "--yes").out == f"{broken.id}\n"
    assert morgue.audited() == {"closed": 3, "dead": 0, "new": 2}
    assert morgue.command("list").out == ""


def test_the_commands_know_all_partitions(client: redis.Redis, prefix: str, redis_url: str) -> None:
    def command(*arguments: str) -> Ended:
        names = {f"{kind}_stream": f"{{{prefix}-*}}:{kind}" for kind in ("input", "output", "dead")}
        return filterd("dead", *arguments, redis_url=redis_url, partitions="3", **names)

    for number in (0, 2):  # the same id in both
        message = {"entry": "5-0", "reason": "poison", "field:text": f"of {number}"}
        stream = {"stream": f"{{{prefix}-{number}}}:input"}
        client.xadd(f"{{{prefix}-{number}}}:dead", {**message, **stream}, id="7-0")
    listed = [line.split("\t")[0] for line in command("list").out.splitlines()]
    assert listed == ["0/7-0", "2/7-0"]
    (first, second) = map(json.loads, command("list", "--json").out.splitlines())
    assert (first["id"], second["stream"]) == ("0/7-0", f"{{{prefix}-2}}:input")
    shown = command("show", "2/7-0", "--text")
    assert "letter      2/7-0" in shown.out
    assert "  text\tof 2" in shown.out
    for wrong in ("7-0", "3/7-0", "-1/7-0", "/7-0", "²/7-0"):
        refused = command("show", "--", wrong)
        assert (refused.code, "PARTITION/MS-NUMBER" in refused.error) == (2, True)
    assert "no dead letter 1/7-0" in command("drop", "1/7-0", "--yes").error
    assert command("drop", "0/7-0", "--yes").out == "0/7-0\n"
    letter, entry, to = command("replay", "--all", "--yes").out.rstrip("\n").split("\t")
    assert (letter, to) == ("2/7-0", f"{{{prefix}-2}}:input")
    assert client.xrange(to) == [(entry.encode(), {b"text": b"of 2"})]
    assert not client.exists(f"{{{prefix}-0}}:dead") or not client.xlen(f"{{{prefix}-0}}:dead")
