"""The page of a daemon alone with its server: outages, and texts of all kinds."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.daemon import Daemon
from tests.e2e.page.scenes import IN_A_BROWSER, keep
from tests.servers import RedisServer
from tests.waiting import eventually

HEBREW = "שלום! זכית בפרס של 1000 ₪"

pytestmark = IN_A_BROWSER


@dataclass
class Alone:
    """A page of a daemon, and the server that it depends on."""

    server: RedisServer
    page: Page

    def publish(self, text: str) -> None:
        with self.server.client() as client:
            client.xadd("alone:in", {"text": text})


@pytest.fixture
def alone(browser: Browser, embedded_binary: Path, short_path: Path) -> Iterator[Alone]:
    """A daemon on a server of its own, which nobody has published anything to."""
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(embedded_binary, short_path))
        daemon = Daemon(server.url, "alone", short_path / "log", SHOW_TEXT="1")
        stack.enter_context(daemon)
        eventually(daemon.ready, "ready", within_s=120)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        stack.callback(context.close)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{daemon.port}/")
        expect(page.locator("#state")).to_have_text("ready")
        yield Alone(server, page)


def test_redis_away_or_hanging_is_said_until_it_is_back(alone: Alone) -> None:
    page, server = alone.page, alone.server
    trouble, state = page.locator("#trouble"), page.locator("#state")
    expect(page.locator("#empty")).to_contain_text("No verdicts yet")
    expect(page.locator("#latency .nothing")).to_have_text("Nothing yet")
    expect(trouble).to_be_hidden()
    server.kill()
    expect(trouble).to_contain_text("Messages wait in their stream")
    expect(state).to_have_text("waiting for Redis")
    expect(page.locator("#tiles div", has_text="Waiting").locator("dd")).to_contain_text("–")
    keep(page, "redis-away", full_page=False)
    server.start()
    expect(trouble).to_be_hidden()
    expect(state).to_have_text("ready")
    alone.publish("Lunch?")
    expect(page.locator("#rows .message")).to_have_text(["Lunch?"])
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        expect(trouble).to_contain_text("did not answer in time")  # the daemon still does
    finally:
        server.process.send_signal(signal.SIGCONT)
    expect(trouble).to_be_hidden()


def test_texts_of_all_kinds(alone: Alone) -> None:
    page, rows = alone.page, alone.page.locator("#rows tr")
    for text in (HEBREW, "word " * 400, " ", "one\n\n\n\ntwo"):
        alone.publish(text)
    expect(rows).to_have_count(4)
    page.locator("#pause").click()
    lines, blank, long, right = (rows.nth(place) for place in range(4))
    assert right.locator(".message").evaluate("e => getComputedStyle(e).direction") == "rtl"
    expect(blank.locator(".message")).to_have_text("no text, or not in the stream any more")
    assert lines.locator(".message").evaluate("e => e.textContent") == "one\ntwo"
    folded = long.bounding_box()
    long.get_by_role("button", expanded=False).press("Enter")
    expect(long.get_by_role("button", expanded=True)).to_be_focused()
    unfolded = long.bounding_box()
    assert folded is not None
    assert unfolded is not None
    assert unfolded["height"] > 3 * folded["height"]
