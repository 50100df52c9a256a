"""What ``/api`` refuses: what cannot be used, whom it does not know, what it cannot do now."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from filterd.classifier import Classifier
from filterd.monitor import MOST_LISTENERS
from filterd.settings import Settings
from tests.panels import Site, open_site, settings_of
from tests.servers import RedisServer
from tests.waiting import soon


@pytest.fixture(scope="module")
def classifier(tiny: Path) -> Classifier:
    return Classifier.load(tiny)


@pytest.fixture
def settings(redis_url: str, prefix: str) -> Settings:
    return settings_of(redis_url, prefix)


@pytest.fixture
async def site(settings: Settings, classifier: Classifier) -> AsyncIterator[Site]:
    async with open_site(settings, classifier) as opened:
        yield opened


@pytest.mark.parametrize("query", ["min=x", "min=nan", "max=2", "min=0.6&max=0.5", "label=eggs"])
async def test_filters_that_are_none(site: Site, query: str) -> None:
    status, answer = await site.get(f"/api/verdicts?{query}")
    assert (status, list(answer)) == (400, ["error"])


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
