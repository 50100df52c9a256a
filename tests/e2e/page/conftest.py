"""Shared by the page's tests: a browser, two daemons under load, and their page in it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser, Page, expect, sync_playwright

from filterd.streams.client import open_client
from filterd.streams.feedback import FeedbackStream
from tests.e2e.daemon import Daemon, Streams
from tests.e2e.page.scenes import CHROMIUM, SECOND, TOKEN, OpenPage, Scene
from tests.servers import RedisServer, binary
from tests.waiting import eventually


@pytest.fixture(scope="module")
def scene(sample: list[str]) -> Iterator[Scene]:
    program = binary("embedded")
    assert program is not None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fd-")))
        server = stack.enter_context(RedisServer(program, folder))
        client = stack.enter_context(open_client(server.url))
        streams = Streams(client, "page")
        shared = {"FEEDBACK_STREAM": "page:feedback", "SHOW_TEXT": "1"}
        first = Daemon(server.url, "page", folder / "1.log", CONSUMER="mail-1", **shared)
        second = Daemon(
            server.url, "page", folder / "2.log", CONSUMER=SECOND, HTTP_TOKEN=TOKEN, **shared
        )
        stack.enter_context(first)
        stack.enter_context(second)
        stack.enter_context(_flowing(server.url, streams.input, sample))
        for daemon in (first, second):
            eventually(daemon.ready, "ready", within_s=120)
        feedback = FeedbackStream(client, "page:feedback", (streams.input,), 65536)
        yield Scene(streams, first, second, feedback)


@contextmanager
def _flowing(url: str, stream: str, texts: list[str]) -> Iterator[None]:
    """Publish some 20 messages a second until the block ends."""
    over = threading.Event()

    def publish() -> None:
        with redis.Redis.from_url(url) as client:
            for text in cycle(texts):
                client.xadd(stream, {"text": text})
                if over.wait(0.05):
                    return

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser, scene: Scene) -> Iterator[OpenPage]:
    """Open the page; at the end nothing was logged as an error and no other host was asked."""
    errors: list[str] = []
    asked: set[str] = set()
    with ExitStack() as stack:

        def opened(daemon: Daemon = scene.first, **options: object) -> Page:
            context = browser.new_context(**options)  # type: ignore[arg-type]
            stack.callback(context.close)
            page = context.new_page()
            page.on("console", lambda m: errors.append(m.text) if m.type != "log" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("request", lambda request: asked.add(request.url.split("/")[2]))
            page.goto(f"http://127.0.0.1:{daemon.port}/")
            expect(page.locator("#state")).to_have_text("ready")
            return page

        yield opened
    assert errors == []
    assert asked <= {f"127.0.0.1:{one.port}" for one in (scene.first, scene.second)}
