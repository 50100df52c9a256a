"""What the demo shows: coloured lines above a status on a terminal, else plain lines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from filterd.terminal import printable

COLOURS = {"spam": "bold red", "ham": "green"}
PLAIN_STATUS_S = 10.0


@dataclass(frozen=True, slots=True)
class Judged:
    """A message with its verdict and the label that a human gave it."""

    label: str
    score: float
    human: str
    text: str


class Screen(Protocol):
    """Where the demo shows what happens."""

    def say(self, line: str) -> None:
        """One line about the demo itself."""

    def verdict(self, judged: Judged) -> None:
        """One message and what became of it."""

    def status(self, line: str, address: str) -> None:
        """How it stands, and where the page is; called often."""


@contextmanager
def open_screen() -> Iterator[Screen]:
    """The screen that fits standard output."""
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        yield PlainScreen(console)
        return
    with Live(console=console, transient=True, refresh_per_second=8) as live:
        yield LiveScreen(live)


class PlainScreen:
    """For pipes and logs: one line each, the status now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_status = time.monotonic() + PLAIN_STATUS_S

    def say(self, line: str) -> None:
        """One line about the demo itself."""
        self._print(Text(line))

    def verdict(self, judged: Judged) -> None:
        """One message and what became of it."""
        self._print(_line(judged))

    def status(self, line: str, address: str) -> None:
        """Print it every ten seconds."""
        if time.monotonic() >= self._next_status:
            self._next_status = time.monotonic() + PLAIN_STATUS_S
            self._print(Text(line))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)
        self._console.file.flush()


class LiveScreen:
    """For terminals: verdicts scroll by above the status."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._status = Text("starting")
        self._live.update(Spinner("dots", self._status))

    def say(self, line: str) -> None:
        """One line about the demo itself."""
        self._live.console.print(Text(line, style="dim"), soft_wrap=True)

    def verdict(self, judged: Judged) -> None:
        """One message and what became of it, cut at the terminal's edge."""
        self._live.console.print(_line(judged), no_wrap=True, overflow="ellipsis", crop=True)

    def status(self, line: str, address: str) -> None:
        """Replace the last two lines."""
        lines = (Text(line, style="bold"), Text(f"{address} · Ctrl-C ends", style="dim"))
        for text in lines:
            text.no_wrap, text.overflow = True, "ellipsis"
        self._live.update(Group(*lines))


def _line(judged: Judged) -> Text:
    """Label, score, a mark where a human says otherwise, and the text."""
    mark = " " if judged.label == judged.human else f"≠ people say {judged.human} "
    return Text.assemble(
        (f"{judged.label:4}", COLOURS[judged.label]),
        f"  {judged.score:.4f} ",
        (mark, "yellow"),
        f" {printable(judged.text)}",
    )
