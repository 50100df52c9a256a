"""``/api`` on a real server, Redis and model: what it says, who may ask, what it refuses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from filterd.classifier import Classifier
from filterd.monitor import MOST_LISTENERS
from filterd.settings import Settings
from tests.panels import Site, open_site
from tests.servers import RedisServer
from tests.waiting import soon

TEXT = "Grüße, you won"


@pytest.fixture(scope="module")
def classifier(tiny: Path) -> Classifier:
    return Classifier.load(tiny)


@pytest.fixture
def settings(redis_url: str, prefix: str) -> Settings:
    return Settings(
        redis_url=redis_url,
        group=f"{prefix}-group",
        consumer="one",
        max_text_bytes=200,
        **{
            f"{name}_stream": f"{prefix}:{name}" for name in ("input", "output", "dead", "feedback")
        },
    )


@pytest.fixture
async def site(settings: Settings, classifier: Classifier) -> AsyncIterator[Site]:
    async with open_site(settings, classifier) as opened:
        yield opened


def fill(client: redis.Redis, settings: Settings, count: int) -> None:
    """Verdicts on texts that are there, spam and ham in turn, scores from 0 up."""
    for number in range(count):
        entry = f"{number + 1}-0"
        label = ("ham", "spam")[number % 2]
        client.xadd(settings.input_stream, {"text": f"{TEXT} {number}"}, id=entry)
        fields = {"entry": entry, "label": label, "score": f"{number / count:.6f}", "sender": "me"}
        client.xadd(settings.output_stream, {**fields, "threshold": "0.5"}, id=entry)


async def daemons_are(site: Site, *names: str) -> bool:
    _, answer = await site.get("/api/status")
    return [one["name"] for one in answer["daemons"]] == list(names)


async def test_status_names_every_daemon_of_the_group(
    site: Site, settings: Settings, classifier: Classifier
) -> None:
    other = settings.model_copy(update={"consumer": "two"})
    async with open_site(other, classifier) as second:
        second.waits_for = ""
        await soon(lambda: daemons_are(site, "one", "two"))
        status, answer = await second.get("/api/status")
    assert status == 200
    (mine,) = [one for one in answer["daemons"] if one["name"] == "two"]
    assert (mine["ready"], mine["artifact"], mine["precision"]) == (True, "tiny-1", "fp32")
    assert answer["group_unknown"] == ""
    await soon(lambda: daemons_are(site, "one"))  # the second said goodbye


async def test_verdicts_by_label_and_score_without_texts(
    site: Site, settings: Settings, client: redis.Redis
) -> None:
    fill(client, settings, 40)
    _, answer = await site.get("/api/verdicts?count=3")
    assert [one["entry"] for one in answer["verdicts"]] == ["40-0", "39-0", "38-0"]
    assert TEXT.split(",")[0] not in json.dumps(answer, ensure_ascii=False)
    assert "sender" not in answer["verdicts"][0]
    _, answer = await site.get("/api/verdicts?label=spam&min=0.2&max=0.5")
    scores = [one["score"] for one in answer["verdicts"]]
    assert scores == sorted((n / 40 for n in range(9, 21, 2)), reverse=True)


@pytest.mark.parametrize("query", ["min=x", "min=nan", "max=2", "min=0.6&max=0.5", "label=eggs"])
async def test_filters_that_are_none(site: Site, query: str) -> None:
    status, answer = await site.get(f"/api/verdicts?{query}")
    assert (status, list(answer)) == (400, ["error"])


async def test_texts_are_shown_where_they_may_be(
    settings: Settings, classifier: Classifier, client: redis.Redis
) -> None:
    fill(client, settings, 2)
    showing = Settings.model_validate({**settings.model_dump(), "show_text": True})
    async with open_site(showing, classifier) as site:
        _, answer = await site.get("/api/verdicts")
    assert [one["text"] for one in answer["verdicts"]] == [f"{TEXT} 1", f"{TEXT} 0"]
    guarded = Settings.model_validate({**showing.model_dump(), "http_token": "right"})
    async with open_site(guarded, classifier) as site:
        for headers, shown in (({}, False), ({"Authorization": "Bearer right"}, True)):
            _, answer = await site.ask("GET", "/api/verdicts", **headers)
            assert ["text" in one for one in answer["verdicts"]] == [shown] * 2
            async with events(site, **headers) as stream:
                first = [await anext(stream) for _ in range(2)]
            assert (TEXT in json.dumps(first, ensure_ascii=False)) is shown


async def test_partitions_are_shown_together(
    settings: Settings, classifier: Classifier, client: redis.Redis, prefix: str
) -> None:
    names = {f"{kind}_stream": f"{{{prefix}-*}}:{kind}" for kind in ("input", "output", "dead")}
    changed = {**settings.model_dump(), **names, "partitions": 2, "show_text": True}
    whole = Settings.model_validate(changed)
    for number in range(4):  # ids are equal in both, as they can be
        tag, id_ = f"{{{prefix}-{number % 2}}}", f"{number // 2 + 1}-0"
        client.xadd(f"{tag}:input", {"text": f"{TEXT} {number}"}, id=id_)
        verdict = {"entry": id_, "label": "ham", "score": "0.1", "stream": f"{tag}:input"}
        client.xadd(f"{tag}:output", verdict, id=id_)
        client.xadd(f"{tag}:dead", {"reason": "no-text"})
    texts = {f"{TEXT} {number}" for number in range(4)}
    async with open_site(whole, classifier) as site:
        _, answer = await site.get("/api/verdicts")
        assert {one["text"] for one in answer["verdicts"]} == texts
        assert answer["unknown"] == ""
        async with events(site) as stream:
            _, hello = await anext(stream)
            _, shown = await anext(stream)
            assert (hello["partitions"], shown["dead"]) == (2, 4)
            assert {one["text"] for one in shown["verdicts"]} == texts
            client.xadd(f"{{{prefix}-0}}:output", {**verdict, "stream": f"{{{prefix}-0}}:input"})
            later: list[Any] = []
            while not later:
                name, event = await anext(stream)
                later += event["verdicts"] if name == "verdicts" else []
            assert [one["stream"] for one in later] == [f"{{{prefix}-0}}:input"]
        said = {"label": "spam", "entry": "2-0", "stream": f"{{{prefix}-1}}:input"}
        assert (await site.ask("POST", "/api/feedback", said))[0] == 201
    ((_, word),) = client.xrange(settings.feedback_stream)
    assert word[b"text"].decode() == f"{TEXT} 3"
    assert word[b"stream"].decode() == said["stream"]


async def test_message_is_tried_and_explained(site: Site, classifier: Classifier) -> None:
    status, answer = await site.ask("POST", "/api/classify", {"text": TEXT})
    (expected,) = classifier.classify([TEXT])
    assert status == 200
    assert (answer["label"], answer["model"]) == (expected.label, expected.model)
    assert abs(answer["score"] - expected.score) < 1e-4
    assert "".join(part["text"] for part in answer["parts"]) == answer["read"] == TEXT


async def test_correction_is_written_and_taken_back(
    site: Site, settings: Settings, client: redis.Redis
) -> None:
    fill(client, settings, 1)
    status, said = await site.ask("POST", "/api/feedback", {"label": "spam", "entry": "1-0"})
    assert status == 201
    status, taken = await site.ask("DELETE", f"/api/feedback/{said['feedback']}")
    assert (status, taken["withdraws"]) == (200, said["feedback"])
    (_, first), (_, second) = client.xrange(settings.feedback_stream)
    assert (first[b"label"], first[b"text"].decode()) == (b"spam", f"{TEXT} 0")
    assert (first[b"entry"], first[b"source"]) == (b"1-0", b"page")
    assert second == {b"withdraw": said["feedback"].encode()}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("classify", {}, 400),
        ("classify", [], 400),
        ("classify", {"text": 5}, 400),
        ("classify", {"text": "\ud800"}, 400),
        ("classify", {"text": "ü" * 101}, 413),
        ("classify", {"text": "x" * 20_000}, 413),
        ("feedback", {"label": "maybe", "text": "x"}, 400),
        ("feedback", {"label": "spam"}, 400),
        ("feedback", {"label": "spam", "text": "x", "entry": "1-0"}, 400),
        ("feedback", {"label": "spam", "entry": "1-0"}, 422),
        ("feedback", {"label": "spam", "entry": "*"}, 422),
    ],
)
async def test_what_cannot_be_used(site: Site, path: str, body: object, status: int) -> None:
    found, answer = await site.ask("POST", f"/api/{path}", body)
    assert (found, list(answer)) == (status, ["error"])


async def test_what_is_no_json(site: Site, settings: Settings, client: redis.Redis) -> None:
    form = json.dumps({"label": "spam", "text": "planted"})
    url = f"http://127.0.0.1:{site.port}/api/feedback"
    for type_, data in (
        ("text/plain", form),
        ("application/x-www-form-urlencoded", form),
        ("multipart/form-data", form),
        ("application/json", "{"),
        ("application/json", "[" * 100_000),
    ):
        async with site.session.post(url, data=data, headers={"Content-Type": type_}) as answer:
            assert answer.status in (400, 413, 415)
            assert list(await answer.json()) == ["error"]
    assert not client.exists(settings.feedback_stream)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_foreign_pages_reach_nothing(
    site: Site, settings: Settings, client: redis.Redis, headers: dict[str, str]
) -> None:
    for method, path, body in (
        ("GET", "/api/status", None),
        ("GET", "/api/verdicts", None),
        ("POST", "/api/classify", {"text": "x"}),
        ("POST", "/api/feedback", {"label": "spam", "text": "x"}),
        ("DELETE", "/api/feedback/1-0", None),
    ):
        status, answer = await site.ask(method, path, body, **headers)
        assert (status, list(answer)) == (403, ["error"]), path
    assert not client.exists(settings.feedback_stream)


async def test_own_page_is_let_in(site: Site) -> None:
    own = {"Origin": f"http://127.0.0.1:{site.port}", "Sec-Fetch-Site": "same-origin"}
    assert (await site.ask("POST", "/api/classify", {"text": "x"}, **own))[0] == 200


@pytest.mark.parametrize(
    ("host", "token", "given", "status"),
    [
        ("127.0.0.1", "right", "", 401),
        ("127.0.0.1", "right", "Bearer wrong", 401),
        ("127.0.0.1", "right", "Basic right", 401),
        ("127.0.0.1", "right", "Bearer right", 422),
        ("0.0.0.0", "", "", 403),  # noqa: S104
        ("0.0.0.0", "right", "Bearer right", 422),  # noqa: S104
    ],
)
async def test_writing_takes_the_token(
    settings: Settings, classifier: Classifier, host: str, token: str, given: str, status: int
) -> None:
    changed = settings.model_dump() | {"http_host": host, "http_token": token}
    headers = {"Authorization": given} if given else {}
    async with open_site(Settings.model_validate(changed), classifier) as site:
        for method, path, body in (
            ("POST", "/api/feedback", {"label": "spam", "entry": "1-0"}),
            ("DELETE", "/api/feedback/1-0", None),
        ):
            assert (await site.ask(method, path, body, **headers))[0] == status
        tried, _ = await site.ask("POST", "/api/classify", {"text": "x"}, **headers)
        assert tried == (200 if status == 422 else status)
        assert (await site.get("/api/status"))[0] == 200


async def test_every_answer_tells_the_browser_what_not_to_do(site: Site) -> None:
    for path in ("/", "/metrics", "/healthz", "/api/status", "/api/nothing", "/nothing"):
        async with site.session.get(f"http://127.0.0.1:{site.port}{path}") as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


@asynccontextmanager
async def events(site: Site, **headers: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """The names and objects of the live events."""
    url = f"http://127.0.0.1:{site.port}/api/events"
    async with site.session.get(url, headers=headers) as response:
        assert response.status == 200

        async def parsed() -> AsyncIterator[tuple[str, Any]]:
            name = ""
            async for line in response.content:
                if line.startswith(b"event: "):
                    name = line[7:].decode().strip()
                elif line.startswith(b"data: "):
                    yield name, json.loads(line[6:])

        yield parsed()


async def test_events_tell_what_was_and_then_what_is(
    site: Site, settings: Settings, client: redis.Redis
) -> None:
    fill(client, settings, 3)
    async with events(site) as stream:
        name, hello = await anext(stream)
        assert (name, hello["group"]) == ("hello", settings.group)
        name, shown = await anext(stream)
        assert (name, len(shown["verdicts"]), shown["dead"]) == ("verdicts", 3, 0)
        site.metrics.verdicts.labels("spam").inc(5)
        site.metrics.latency_seconds.observe(0.03)
        client.xadd(settings.output_stream, {"label": "ham", "score": "0.1"}, id="50-0")
        counted, median_ms, later = 0.0, None, []
        while not (counted and later):
            name, event = await anext(stream)
            if name == "tick":
                counted += event["sample"]["spam"]
                median_ms = median_ms or event["sample"]["latency_ms"][0]
            else:
                later += event["verdicts"]
    assert median_ms == pytest.approx(35, abs=16)
    assert [one["cursor"] for one in later] == ["50-0"]  # what was told is not told again
    async with events(site) as stream:
        _, hello = await anext(stream)
    assert sum(sample["spam"] for sample in hello["history"]) == pytest.approx(counted)


async def test_listeners_are_bounded(site: Site) -> None:
    url = f"http://127.0.0.1:{site.port}/api/events"
    open_ = [await site.session.get(url) for _ in range(MOST_LISTENERS)]
    assert (await site.get("/api/events"))[0] == 503
    for response in open_:
        response.close()

    async def is_let_in() -> bool:
        async with site.session.get(url) as response:
            return response.status == 200

    await soon(is_let_in)


async def test_redis_away_is_said(
    embedded_binary: Path, short_path: Path, classifier: Classifier
) -> None:
    with RedisServer(embedded_binary, short_path) as server:
        async with open_site(Settings(redis_url=server.url), classifier) as site:
            server.kill()
            status, answer = await site.get("/api/verdicts")
            assert (status, "cannot be reached" in answer["error"]) == (503, True)
            assert (await site.ask("POST", "/api/classify", {"text": "x"}))[0] == 200

            async def is_said() -> bool:
                return bool((await site.get("/api/status"))[1]["group_unknown"])

            await soon(is_said)


async def test_before_it_has_started(settings: Settings) -> None:
    async with open_site(settings, redis=False) as site:
        assert (await site.get("/api/status"))[0] == 200
        for method, path in (("GET", "/api/verdicts"), ("POST", "/api/classify")):
            body = {"text": "x"} if method == "POST" else None
            assert await site.ask(method, path, body) == (
                503,
                {"error": "the daemon is starting: try again soon"},
            )
