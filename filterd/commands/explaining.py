"""``filterd explain``: why a message has its score."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from filterd.commands.messages import MODEL, chunks
from filterd.options import Command

if TYPE_CHECKING:
    from filterd.settings import Settings


@click.command(cls=Command, fields=MODEL, short_help="Show which words moved a score.")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--json", "as_objects", is_flag=True, help="One JSON object a message.")
def explain(settings: Settings, texts: tuple[str, ...], as_objects: bool) -> None:
    """Show which words moved a score: arguments, or one message a line on standard input.

    The effect of a word is the log-odds of spam with it minus without it: above 0 it speaks for
    spam. Where two words each suffice, neither shows much. Prints label, score and text as the
    model reads it, then effect and word, one a line; on a terminal, the text in colour.

    \b
    filterd explain "You have won a \\$1000 prize, call now"
    filterd explain --json < messages.txt
    """
    from filterd import explain as work
    from filterd.classifier import Classifier
    from filterd.terminal import write_line

    classifier = Classifier.load(
        settings.artifact,
        device=settings.device,
        precision=settings.precision,
        threshold=settings.threshold,
    )
    show = work.show_in_colour if sys.stdout.isatty() else work.show_lines
    for chunk in chunks(texts):
        for text in chunk:
            explained = work.explain(classifier, text)
            if as_objects:
                write_line(work.as_json(text, explained))
            else:
                show(explained)
            sys.stdout.flush()
