"""The page beside daemons under load: what it shows, what is done on it, what it looks like."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.page.scenes import (
    IN_A_BROWSER,
    SECOND,
    SPAM,
    TOKEN,
    OpenPage,
    Scene,
    keep,
    try_message,
)

PHONE = (390, 844)

pytestmark = IN_A_BROWSER


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
    assert read.evaluate("e => e.textContent") == SPAM.replace("ü", "u")  # as the model reads it
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
