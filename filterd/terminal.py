"""What commands print: one line a message, whatever the message holds, and progress bars."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories that move the cursor or break the line: controls, surrogates, separators."""
BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of what follows them on the line."""


def printable(text: str) -> str:
    """A text as one harmless line: control characters are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character not in BIDI and unicodedata.category(character) not in HIDDEN:
        return character
    code = ord(character)
    return NAMED.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def write_line(text: str) -> None:
    """Write one line to standard output; ``flush`` follows where somebody waits for it."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Say something to the user beside the output, if there is something."""
    if text:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def say_made(directory: Path) -> None:
    """Of a server's directory: a mistyped one would else look like streams without a message."""
    note(f"embedded:{directory} was not there: it is made, and holds nothing yet")


@contextmanager
def progress(what: str, total: int, *, quiet_output: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; the function that it yields takes how much is done.

    quiet_output: nothing is printed meanwhile. Where something is, and both go to the same
    terminal, there is no bar.
    """
    if not sys.stderr.isatty() or (sys.stdout.isatty() and not quiet_output):
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total or None)
        yield lambda done: bar.update(task, completed=done)
