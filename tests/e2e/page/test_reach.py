"""Whoever reads the page, on whatever screen: nothing is cut off, out of reach or too faint."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.page.scenes import IN_A_BROWSER, SPAM, OpenPage, Scene, try_message

WIDTHS = (320, 360, 390, 768, 1280)

pytestmark = IN_A_BROWSER


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
