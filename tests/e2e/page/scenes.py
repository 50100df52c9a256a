"""What the tests of the page meet and do alike.

``SCREENSHOTS=tests/e2e/screenshots pytest tests/e2e/page`` keeps what it looks like.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from filterd.feedback import Correction, Withdrawal, standing
from filterd.streams.feedback import FeedbackStream
from tests.e2e.daemon import Daemon, Streams

CHROMIUM = shutil.which("chromium")
PATIENT_MS = 60_000
TOKEN = "right-token"  # noqa: S105 - a test's
SPAM = (
    "WINNER! You have won a $1000 cash prize, call 09061701461 now to claim! "
    "Grüße 🎉 <img src=x onerror=alert(1)>"
)
SECOND = "mail-ingest-eu-central-1a-6f7d9c5b4-xk2lp-9108"

IN_A_BROWSER = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.timeout(300),
]
expect.set_options(timeout=PATIENT_MS)

OpenPage = Callable[..., Page]


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
