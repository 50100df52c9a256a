"""The page in a real browser, beside daemons under load.

``SCREENSHOTS=tests/e2e/screenshots pytest tests/e2e/test_page.py`` keeps what it looks like.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from filterd.feedback import Correction, Withdrawal, standing
from filterd.streams.client import open_client
from filterd.streams.feedback import FeedbackStream
from tests.e2e.daemon import Daemon, Streams
from tests.servers import RedisServer, binary
from tests.waiting import eventually

CHROMIUM = shutil.which("chromium")
PATIENT_MS = 60_000
TOKEN = "right-token"  # noqa: S105 - a test's
SPAM = "You have won a $1000 prize, call now! Grüße 🎉 <img src=x onerror=alert(1)>"
HEBREW = "שלום! זכית בפרס של 1000 ₪"
PHONE = (390, 844)
WIDTHS = (320, 360, 390, 768, 1280)
SECOND = "mail-ingest-eu-central-1a-6f7d9c5b4-xk2lp-9108"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(300),
]
expect.set_options(timeout=PATIENT_MS)


@dataclass
class Scene:
    """Two daemons of a group on one stream, the second with a token, and messages flowing."""

    streams: Streams
    first: Daemon
    second: Daemon
    feedback: FeedbackStream

    def words(self) -> list[Correction]:
        """The corrections that stand."""
        return standing(
            word for word in self.feedback.read() if isinstance(word, (Correction, Withdrawal))
        )


@dataclass
class Alone:
    """A page of a daemon, and the server that it depends on."""

    server: RedisServer
    page: Page

    def publish(self, text: str) -> None:
        with self.server.client() as client:
            client.xadd("alone:in", {"text": text})


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


OpenPage = Callable[..., Page]


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


def keep(page: Page, name: str, *, full_page: bool = True) -> None:
    """Keep a screenshot where one is asked for."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.locator("#try-title").scroll_into_view_if_needed()
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=full_page)


def try_message(page: Page, text: str) -> Locator:
    """Try a message as with a keyboard; what the page answers."""
    page.locator("#try-text").fill(text)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#try-result .read")).to_be_visible()
    return page.locator("#try-result")


def test_numbers_move(open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    for chart in ("throughput", "latency", "stages", "waiting", "batches", "scores"):
        drawn = page.locator(f"#{chart} [role=img]")
        expect(drawn).to_be_visible()
        before = drawn.get_attribute("aria-label")
        assert before
        if chart in ("throughput", "latency", "stages", "scores"):
            expect(drawn).not_to_have_attribute("aria-label", before)
    tile = page.locator("#tiles div", has_text="Verdicts").locator("dd")
    expect(tile).not_to_have_text("0a second, 2 daemons")
    expect(page.locator("#tiles")).to_contain_text("2 daemons")
    names = page.locator("#daemons tr td:first-child")
    expect(names).to_have_text(["mail-1 this one", SECOND])
    newest = page.locator("#rows tr").first.inner_text()
    expect(page.locator("#rows tr").first).not_to_have_text(newest)


def test_a_page_opened_now_shows_what_was_before(open_page: OpenPage, scene: Scene) -> None:
    page = open_page()
    past = page.evaluate(
        """async () => {
            const response = await fetch('/api/events');
            const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
            let text = '';
            while (!text.includes('\\n\\n')) text += (await reader.read()).value;
            await reader.cancel();
            return JSON.parse(text.split('data: ')[1].split('\\n')[0]).history;
        }"""
    )
    assert len(past) > 3
    assert max(sample["ham"] for sample in past) > 0


def test_where_the_time_goes_when_texts_are_remembered(open_page: OpenPage) -> None:
    page = open_page()
    legend = page.locator("#stages .legend")
    expect(legend).to_contain_text("from memory")
    expect(page.locator("#stages [role=img]")).to_have_attribute(
        "aria-label", re.compile("forward 0, settle .*, from memory 100%")
    )


@pytest.mark.parametrize(
    ("values", "least", "most", "peak"),
    [
        ([5, 7, None, 6], 7, 9, None),
        ([2000, *[5, 7, 6] * 10], 7, 30, 2000),
        ([5, 50] * 20, 50, 60, None),
        ([], 0, 2, None),
        ([None, 0], 0, 2, None),
        ([0, 0, 3], 3, 4, None),
    ],
)
def test_a_spike_flattens_no_chart(
    open_page: OpenPage, values: list[float | None], least: float, most: float, peak: float | None
) -> None:
    page = open_page()
    found = page.evaluate("v => import('/page/scale.js').then(m => m.reach(v))", values)
    assert least < found["top"] < most
    assert found["peak"] == peak


def test_message_is_tried(open_page: OpenPage) -> None:
    page = open_page()
    result = try_message(page, SPAM)
    expect(result.locator(".label")).to_have_text("spam")
    read = result.locator(".read")
    assert read.evaluate("e => e.textContent") == SPAM
    expect(read.locator("mark.strong").first).to_be_visible()
    assert page.locator("main img").count() == 0
    result = try_message(page, "Are we still on for lunch tomorrow?")
    expect(result.locator(".label")).to_have_text("ham")


def test_tried_message_is_corrected_and_taken_back(open_page: OpenPage, scene: Scene) -> None:
    page = open_page()
    result = try_message(page, "Nobody else says this sentence")
    result.get_by_role("button", name="It is spam").click()
    expect(result).to_contain_text("you said spam")
    (word,) = scene.words()
    assert (word.label, word.text) == ("spam", "Nobody else says this sentence")
    page.locator("#toast").get_by_role("button", name="Undo").click()
    expect(result.get_by_role("button", name="It is spam")).to_be_visible()
    assert scene.words() == []


def test_verdict_is_corrected_and_taken_back(open_page: OpenPage, scene: Scene) -> None:
    page = open_page()
    page.locator("#pause").click()
    row = page.locator("#rows tr").first
    entry = row.locator(".message").get_attribute("title")
    text = row.locator(".message").evaluate("e => e.textContent")
    verdict = row.locator(".label").inner_text()
    other = {"spam": "ham", "ham": "spam"}[verdict]
    row.get_by_role("button", name=f"It is {other}").focus()
    page.keyboard.press("Enter")
    expect(row).to_contain_text(f"you said {other}")
    (word,) = scene.words()
    assert (word.label, word.entry, word.text) == (other, entry, text)
    page.keyboard.press("Enter")  # the focus stayed, now on Undo
    expect(row.get_by_role("button", name=f"It is {other}")).to_be_visible()
    assert scene.words() == []


def test_history_is_filtered_and_paused(open_page: OpenPage) -> None:
    page = open_page()
    for label in ("spam", "ham"):
        page.get_by_label("Label").select_option(label)
        page.wait_for_function(
            """label => { const shown = [...document.querySelectorAll('#rows .label')];
                return shown.length > 0 && shown.every(one => one.textContent === label); }""",
            arg=label,
        )
    page.get_by_label("Label").select_option("")
    page.get_by_label("Score from").fill("0.2")
    page.get_by_label("to", exact=True).fill("0.7")
    page.keyboard.press("Enter")
    page.wait_for_function(
        """() => { const s = [...document.querySelectorAll('#rows td:nth-child(3)')]
            .map(e => Number(e.textContent));
            return s.length > 0 && s.every(v => v >= 0.2 && v <= 0.7); }"""
    )
    page.get_by_label("Score from").fill("0")
    page.get_by_label("to", exact=True).fill("1")
    with page.expect_response("**/api/verdicts?*max=1&*"):  # what is asked for shows, held or not
        page.keyboard.press("Enter")
    pause = page.locator("#pause")
    pause.click()
    newest = page.locator("#rows tr").first.inner_text()
    expect(pause).to_contain_text("newer")
    assert page.locator("#rows tr").first.inner_text() == newest
    pause.click()
    expect(pause).to_have_text("Pause")
    expect(page.locator("#rows tr").first).not_to_have_text(newest)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_themes_can_be_read(open_page: OpenPage, scheme: str) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == scheme
    try_message(page, SPAM.partition(" Grüße")[0])
    for ink in ("ink", "soft", "spam", "ham", "accent", "warn"):
        for paper in ("card", "page"):
            assert _contrast(page, ink, paper) >= 4.5, (ink, paper)
    keep(page, f"page-{scheme}")
    page.get_by_role("button", name="Switch between light and dark").click()
    switched = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
    assert {switched, scheme} == {"light", "dark"}
    page.reload()
    kept = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
    assert kept == switched


def _contrast(page: Page, ink: str, paper: str) -> float:
    """The contrast of two of the page's colours, as WCAG 2 measures it."""
    return float(
        page.evaluate(
            """names => {
                const probe = document.body.appendChild(document.createElement('i'));
                const [a, b] = names.map(name => {
                    probe.style.color = `var(--${name})`;
                    const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3);
                    const [r, g, b] = parts.map(v => v / 255).map(
                        v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                });
                probe.remove();
                return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            }""",
            [ink, paper],
        )
    )


def test_a_phone_shows_all_without_scrolling_sideways(open_page: OpenPage) -> None:
    width, height = PHONE
    page = open_page(viewport={"width": width, "height": height}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    try_message(page, SPAM.partition(" Grüße")[0])
    keep(page, "phone")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_its_place(open_page: OpenPage, width: int, scheme: str) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    try_message(page, f"You have won {'x' * 300} call {'y' * 90}")
    expect(page.locator("#daemons tr")).to_have_count(2)
    expect(page.locator("#rows tr").first).to_be_visible()
    page.locator("#pause").click()
    page.evaluate(
        """() => {
            document.querySelector('#rows .message').textContent = 'z'.repeat(900);
            document.querySelector('#tiles dd').firstChild.textContent = '9,999,999';
        }"""
    )
    too_wide = page.evaluate(
        """() => [...document.body.querySelectorAll('*')].filter(e => {
            const aside = e.closest('.unseen, .skip, .uplot, svg, option');
            if (aside || !e.checkVisibility()) return false;
            const { left, right } = e.getBoundingClientRect();
            const inline = getComputedStyle(e).display === 'inline';
            const cut = !inline && e.scrollWidth > e.clientWidth + 1;
            return left < -0.5 || right > innerWidth + 0.5 || cut;
        }).map(e => e.outerHTML.slice(0, 120))"""
    )
    assert too_wide == []


def test_a_keyboard_and_a_screen_reader_find_everything(open_page: OpenPage) -> None:
    page = open_page(reduced_motion="reduce")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for role in ("banner", "main", "contentinfo"):
        expect(page.get_by_role(role)).to_have_count(1)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea')]
            .filter(e => !(e.textContent.trim() || e.ariaLabel || e.labels?.length))
            .map(e => e.outerHTML)"""
    )
    assert nameless == []
    assert (
        page.evaluate("getComputedStyle(document.querySelector('button')).transitionDuration")
        == "0s"
    )


def test_a_keyboard_reaches_everything_and_shows_where_it_is(open_page: OpenPage) -> None:
    page = open_page()
    try_message(page, SPAM)
    page.locator("#pause").click()
    page.evaluate(
        """() => {
            for (const row of [...document.querySelectorAll('#rows tr')].slice(3)) row.remove();
        }"""
    )
    focus = None
    while focus is None or not focus["again"]:  # once around, through the browser's own parts
        page.keyboard.press("Tab")
        focus = page.evaluate(
            """() => {
                const e = document.activeElement;
                const { outlineStyle, outlineWidth } = getComputedStyle(e);
                const ring = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
                const again = Boolean(e.dataset.reached);
                if (e !== document.body) e.dataset.reached = '1';
                return { again, ring: ring || e === document.body, html: e.outerHTML.slice(0, 99) };
            }"""
        )
        assert focus["ring"], focus["html"]
    missed = page.evaluate(
        """() => [...document.querySelectorAll('a, button, input, select, textarea')]
            .filter(e => e.checkVisibility() && !e.disabled && !e.dataset.reached)
            .map(e => e.outerHTML)"""
    )
    assert missed == []


def test_what_scrolls_can_be_scrolled_by_keyboard(open_page: OpenPage, scene: Scene) -> None:
    page = open_page(scene.second, viewport={"width": 360, "height": 640})  # it has no buttons
    expect(page.locator("#rows tr").nth(30)).to_be_attached()
    out_of_reach = page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(e => {
            const style = getComputedStyle(e);
            const hides = e.scrollHeight > e.clientHeight || e.scrollWidth > e.clientWidth;
            const scrolls = /auto|scroll/.test(style.overflowX + style.overflowY);
            return e.checkVisibility() && hides && scrolls && e.tabIndex < 0;
        }).map(e => e.outerHTML.slice(0, 120))"""
    )
    assert out_of_reach == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(open_page: OpenPage, scheme: str) -> None:
    page = open_page(color_scheme=scheme)
    try_message(page, SPAM)
    expect(page.locator("#rows tr").first).to_be_visible()
    faint = page.evaluate(
        """() => {
            const canvas = new OffscreenCanvas(1, 1);
            const context = canvas.getContext('2d', { willReadFrequently: true });
            const painted = (colours) => {
                context.clearRect(0, 0, 1, 1);
                for (const colour of colours) {
                    context.fillStyle = colour;
                    context.fillRect(0, 0, 1, 1);
                }
                const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map(v => v / 255).map(
                    v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const texts = [...document.querySelectorAll('body *')].filter(e =>
                e.checkVisibility() && !e.closest('svg, option, .skip, .unseen, :disabled')
                && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
            return texts.map(e => {
                const behind = [];
                for (let at = e; at; at = at.parentElement)
                    behind.unshift(getComputedStyle(at).backgroundColor);
                const paper = painted(behind);
                const ink = painted([...behind, getComputedStyle(e).color]);
                const contrast = (Math.max(paper, ink) + 0.05) / (Math.min(paper, ink) + 0.05);
                return contrast < 4.5 ? `${contrast.toFixed(2)} ${e.outerHTML.slice(0, 120)}` : '';
            }).filter(Boolean);
        }"""
    )
    assert faint == []


def test_token_is_asked_for_and_kept_for_the_tab(open_page: OpenPage, scene: Scene) -> None:
    page = open_page(scene.second)
    expect(page.locator("#notice")).to_contain_text("give the token")
    expect(page.get_by_role("button", name="Classify")).to_be_disabled()
    expect(page.locator("#what")).to_have_text("Entry")
    page.get_by_role("button", name="Token").click()
    page.get_by_label("Token", exact=True).last.fill(TOKEN)
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#what")).to_have_text("Message")
    try_message(page, "Lunch?")


def test_a_daemon_that_ends_is_missed(open_page: OpenPage, scene: Scene) -> None:
    page = open_page()
    expect(page.locator("#daemons tr")).to_have_count(2)
    scene.second.kill()
    expect(page.locator("#daemons tr")).to_have_count(1)


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
