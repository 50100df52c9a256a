"""The ACL users of deploy/redis: enough for their work, and none has a right that it can miss."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from filterd.classifier import Classifier
from filterd.entries import Answer, DeadLetter, Entry, Outcome, Verdict
from filterd.errors import FilterdError, UnavailableError
from filterd.feedback import Correction
from filterd.publish import Message, publish
from filterd.settings import Settings
from filterd.shadow import Comparison
from filterd.streams import consumer as consumers
from filterd.streams.audit import audit
from filterd.streams.client import open_client
from filterd.streams.connection import connect, translated
from filterd.streams.consumer import Consumer, ReadConfig
from filterd.streams.dead import DeadLetters
from filterd.streams.examination import RIGHTS, Examination
from filterd.streams.feedback import FeedbackStream
from filterd.streams.lease import Lease
from filterd.streams.names import StreamNames
from filterd.streams.presence import Presence
from filterd.streams.scripts import Wait
from filterd.streams.settling import Settler
from filterd.streams.shadowing import Disagreements
from filterd.streams.trimming import Trimmer
from filterd.tail import View
from tests.panels import open_site
from tests.servers import RedisServer

ACL = Path(__file__).parents[2] / "deploy" / "redis" / "users.acl"
README = ACL.with_name("README.md")
NAMES = StreamNames("filterd:messages", "filterd:verdicts", "filterd:dead", "filterd")
USERS = ("filterd", "filterd-publisher", "filterd-reader", "filterd-operator")


@pytest.fixture(scope="module")
def server(debian_binary: Path) -> Iterator[RedisServer]:
    """A server with these users, whose passwords are ``secret``."""
    with tempfile.TemporaryDirectory(prefix="fd-") as folder:
        users = Path(folder) / "users.acl"
        admin = "user admin on >secret ~* &* +@all\n"
        lines = ACL.read_text().replace(" on ", " on >secret ")
        users.write_text(admin + lines)
        made = Guarded(debian_binary, Path(folder) / "data", tcp=True)
        made.users = users
        with made:
            yield made


class Guarded(RedisServer):
    """A server that its own tests reach as ``admin``."""

    users: Path

    def start(self, *more: str) -> Guarded:
        self.url = f"redis://admin:secret@127.0.0.1:{self.port}/0"
        super().start("--aclfile", str(self.users), *more)
        return self

    def url_of(self, user: str) -> str:
        return self.url.replace("admin:", f"{user}:")


@pytest.fixture
def admin(server: Guarded) -> Iterator[redis.Redis]:
    with server.client() as client:
        client.flushdb()
        client.script_flush()
        yield client


def prepared(admin: redis.Redis) -> None:
    """Streams with something of everything; made anew for each piece of work."""
    admin.flushdb()
    admin.script_flush()
    admin.xgroup_create(NAMES.input, "other", "0", mkstream=True)
    for number in range(6):
        admin.xadd(NAMES.input, {"text": f"message {number}"}, id=f"{number + 1}-0")
    admin.xreadgroup("other", "gone", {NAMES.input: ">"})


def stocked(admin: redis.Redis) -> None:
    """The same, as after some work of the daemon."""
    prepared(admin)
    admin.xgroup_create(NAMES.input, NAMES.group, "0")
    admin.xreadgroup(NAMES.group, "me", {NAMES.input: ">"}, count=5)
    for number in range(3):
        verdict = {"entry": f"{number + 1}-0", "label": "ham", "score": "0.1", "threshold": "0.5"}
        admin.xadd(NAMES.output, verdict)
        admin.xack(NAMES.input, NAMES.group, f"{number + 1}-0")
    for entry in ("4-0", "5-0"):
        letter = {"entry": entry, "reason": "no-text", "detail": "", "field:text": "x"}
        admin.xadd(NAMES.dead, letter)
        admin.xack(NAMES.input, NAMES.group, entry)


async def daemon(url: str) -> None:
    """What a daemon does, in the order of its life."""
    client = connect(url)
    try:
        with translated():
            await client.ping()
            await client.info("server")
        lease = Lease(client, NAMES.input, NAMES.group, "me")
        await lease.take()
        me = Consumer(client, ReadConfig(NAMES.input, NAMES.group, "me", (b"text",), 1000))
        other = Consumer(client, ReadConfig(NAMES.input, NAMES.group, "you", (b"text",), 1000))
        await me.ensure_group()
        entries = await other.read()
        assert len(entries) == 6
        if not other.woken:
            raise UnavailableError("nobody says when entries come")
        claimed = await me.claim("-", 0, ())
        ids = [entry.id for entry in claimed.entries]
        await me.renew(ids)
        await me.reap()
        streams = (NAMES.input, NAMES.output, NAMES.dead)
        settler = Settler(client, NAMES.group, streams, 1000, Wait(0))
        verdict = Verdict.decide(0.75, 0.5, "m")
        outcomes: list[Outcome] = [Answer(Entry(id_, "", None, ()), verdict) for id_ in ids[1:]]
        done = await settler.settle([DeadLetter(ids[0], "no-text", "", 1), *outcomes])
        if done.refusal:
            raise done.refusal
        await me.status()
        await Trimmer(client, NAMES.input, NAMES.group, 0.0).trim()
        presence = Presence(client, NAMES.input, NAMES.group, "me")
        assert await presence.beat({})
        await presence.leave()
        await lease.drop()
    finally:
        await client.aclose()


@cache
def classifier() -> Classifier:
    return Classifier.load(None)


async def page(url: str) -> None:
    """What the daemon's page asks, and what people say on it."""
    async with open_site(Settings(redis_url=SecretStr(url)), classifier()) as site:
        _raise(*await site.get("/api/verdicts"))
        correction = {"label": "spam", "entry": "6-0"}
        status, answer = await site.ask("POST", "/api/feedback", correction)
        _raise(status, answer)
        _raise(*await site.ask("DELETE", f"/api/feedback/{answer['feedback']}"))
        assert site.panel.api.backstage is not None
        assert site.panel.api.backstage.dead_letters() == 1


def _raise(status: int, answer: dict[str, str]) -> None:
    if status >= 400:
        raise UnavailableError(answer["error"])


def doctor(url: str) -> None:
    """What it cannot do without. (It names each right that is missing, needed or not.)"""
    with open_client(url) as client:
        for finding in Examination(client, NAMES, "me").findings():
            if finding.level == "change" and finding.topic in ("types", "groups"):
                raise UnavailableError(finding.says)


def whole_daemon(url: str) -> None:
    asyncio.run(daemon(url))
    asyncio.run(page(url))
    doctor(url)


async def shadow(url: str) -> None:
    """What a daemon sends beside, with FILTERD_SHADOW_SHARE."""
    client = connect(url)
    answer = Answer(Entry("1-0", "", None, ()), Verdict.decide(0.75, 0.5, "m"))
    compared = Comparison(answer, Verdict.decide(0.25, 0.5, "n"))
    disagreements = Disagreements(client, "filterd:disagreements", show_text=False)
    try:
        await disagreements.keep([compared], Counter({"m n spam ham": 1}))
    finally:
        await client.aclose()


def publisher(url: str) -> None:
    with open_client(url) as client:
        list(publish(client, NAMES.input, [[Message("hello")]]))


def reader(url: str) -> None:
    with open_client(url) as client:
        view = View(client, NAMES.output, NAMES.input)
        assert view.end() != "0"
        assert view.latest(2)
        assert view.after("0")


def operator(url: str) -> None:
    with open_client(url) as client:
        stream = FeedbackStream(client, "filterd:feedback", (NAMES.input,), 1000)
        stream.withdraw(stream.correct(Correction("", "ham", entry="6-0")).id)
        assert audit(client, NAMES, 1000, lambda _: None).entries
        letters = DeadLetters(client, NAMES, 1000)
        first, second = letters.all()
        letters.message(first.id)
        assert letters.replay(first)
        assert letters.drop(second)


WORK: dict[str, tuple[Callable[[redis.Redis], None], Callable[[str], object]]] = {
    "filterd": (prepared, whole_daemon),
    "filterd-publisher": (prepared, publisher),
    "filterd-reader": (stocked, reader),
    "filterd-operator": (stocked, operator),
}


def rights(user: str) -> list[str]:
    """The commands that the file gives a user."""
    (line,) = (line for line in ACL.read_text().splitlines() if line.startswith(f"user {user} "))
    return [word[1:] for word in line.split() if word.startswith("+")]


def refusal(work: Callable[[str], object], url: str) -> str:
    """What stopped the work; empty where nothing did."""
    try:
        work(url)
    except FilterdError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("user", USERS)
def test_each_right_is_needed(
    server: Guarded, admin: redis.Redis, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "FORGET_CONSUMERS_MS", 0)
    prepare, work = WORK[user]
    prepare(admin)
    work(server.url_of(user))
    needless = []
    for right in rights(user):
        prepare(admin)
        admin.execute_command("ACL", "SETUSER", user, f"-{right}")
        said = refusal(work, server.url_of(user))
        admin.execute_command("ACL", "SETUSER", user, f"+{right}")
        assert "secret" not in said
        if not said:
            needless.append(right)
    assert needless == []


def test_the_doctor_misses_no_right(server: Guarded, admin: redis.Redis) -> None:
    prepared(admin)
    with open_client(server.url_of("filterd")) as client:
        found = list(Examination(client, NAMES, "me").findings())
    assert [one.says for one in found if one.topic == "rights"] == [
        f"ACL allows all {len(RIGHTS)} commands"
    ]


def test_a_shadow_needs_what_the_readme_says(server: Guarded, admin: redis.Redis) -> None:
    more = ("multi", "exec", "hincrby", "expire")
    assert f"`{' '.join(f'+{right}' for right in more)}` for the daemon with" in README.read_text()
    admin.execute_command("ACL", "SETUSER", "filterd", *(f"+{right}" for right in more))
    asyncio.run(shadow(server.url_of("filterd")))
    for right in more:
        admin.execute_command("ACL", "SETUSER", "filterd", f"-{right}")
        assert refusal(lambda url: asyncio.run(shadow(url)), server.url_of("filterd")), right
        admin.execute_command("ACL", "SETUSER", "filterd", f"+{right}")
    admin.execute_command("ACL", "SETUSER", "filterd", *(f"-{right}" for right in more))


@pytest.mark.parametrize("user", USERS)
def test_keys_of_others_are_out_of_reach(server: Guarded, user: str) -> None:
    with redis.Redis.from_url(server.url_of(user)) as client:
        for command in (("XADD", "other", "*", "a", "b"), ("XRANGE", "other", "-", "+")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def test_nobody_comes_in_without_a_password() -> None:
    lines = ACL.read_text().splitlines()
    assert lines[0] == "user default off"
    assert not any(word.startswith((">", "nopass")) for line in lines for word in line.split())
