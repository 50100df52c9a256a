"""``filterd classify``, ``publish`` and ``tail``: messages and verdicts at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filterd.commands.clients import told_clients
from filterd.options import Command

if TYPE_CHECKING:
    from filterd.settings import Settings

INPUT = ("redis_url", "input_stream", "text_field", "partitions")
MODEL = ("artifact", "device", "precision", "threads", "threshold")
FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(cls=Command, fields=MODEL, short_help="Label messages on the spot.")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--json", "as_objects", is_flag=True, help="One JSON object a line.")
@click.option("--input", "source", type=EXISTING, help="A csv, tsv, jsonl or parquet file.")
@click.option("--output", type=FILE, help="Write the rows of --input here, with their verdicts.")
@click.option("--column", default="text", show_default=True, help="Column that holds the text.")
def classify(
    settings: Settings,
    texts: tuple[str, ...],
    as_objects: bool,
    source: Path | None,
    output: Path | None,
    column: str,
) -> None:
    """Label messages: arguments, or one a line on standard input, or the rows of a file.

    Prints label, score and text, separated by tabs, one message a line.

    \b
    filterd classify "You have won a \\$1000 prize, call now"
    filterd classify --json < messages.txt
    filterd classify --input inbox.csv --output labelled.parquet
    """
    _only_one_source(texts, source)
    if output is not None and source is None:
        raise click.UsageError("--output needs --input")
    if source is not None and output is not None and output.exists() and output.samefile(source):
        raise click.UsageError("--output is the file of --input: name another")
    from filterd import classify as work
    from filterd.classifier import Classifier
    from filterd.tables import format_of

    for path in filter(None, (source, output)):
        format_of(path)
    classifier = Classifier.load(
        settings.artifact,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
        threshold=settings.threshold,
    )
    render = work.as_json if as_objects else work.as_line
    if source is not None:
        work.classify_file(classifier, source, column, output, render)
    else:
        work.print_verdicts(classifier, chunks(texts), render)


@click.command(cls=Command, fields=(*INPUT, "id_field"), short_help="Send messages to the daemon.")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--id", "own_id", help="Your own id of the message; its verdict repeats it.")
@click.option(
    "--input",
    "source",
    type=EXISTING,
    help="A csv, tsv, jsonl or parquet file; a column 'id' is sent along.",
)
@click.option("--column", default="text", show_default=True, help="Column that holds the text.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Messages a second.")
@click.option("--quiet", "-q", is_flag=True, help="Do not print the ids of the entries.")
def publish(
    settings: Settings,
    texts: tuple[str, ...],
    own_id: str | None,
    source: Path | None,
    column: str,
    rate: float | None,
    quiet: bool,
) -> None:
    """Send messages to the daemon: arguments, or one a line on standard input, or a file.

    Prints the id of each entry.

    \b
    filterd publish "Lunch at one?" --id order-17
    filterd publish --rate 100 < messages.txt
    filterd publish --input inbox.csv --column body --quiet
    """
    _only_one_source(texts, source)
    if own_id is not None and len(texts) != 1:
        raise click.UsageError("--id goes with exactly one TEXT")
    from filterd import publish as work
    from filterd.entries import FieldNames
    from filterd.streams.names import StreamNames

    if source is not None:
        batches: Any = work.from_file(source, column, quiet_output=quiet)
    else:
        batches = ([work.Message(text, own_id) for text in chunk] for chunk in chunks(texts))
    inputs = [names.input for names in StreamNames.all_of(settings)]
    with told_clients(settings.server, inputs) as clients:
        paced, fields = work.paced(batches, rate), FieldNames.of(settings)
        if len(inputs) == 1:
            published = work.publish(clients[0], inputs[0], paced, names=fields)
        else:
            published = work.publish_apart(list(zip(clients, inputs, strict=True)), paced, fields)
        for ids in published:
            if not quiet:
                _print(ids)


@click.command(
    cls=Command, fields=(*INPUT, "output_stream"), short_help="Show verdicts as they come."
)
@click.option("--from-start", is_flag=True, help="Begin with the oldest verdict that is kept.")
@click.option(
    "--follow/--no-follow",
    default=True,
    show_default=True,
    help="Wait for more, or end with what is there: the last ones, as tail does.",
)
@click.option(
    "--count", type=click.IntRange(1), help="End after this many.  [with --no-follow alone: 10]"
)
@click.option("--json", "as_objects", is_flag=True, help="One JSON object a line.")
@click.option("--text", "show_text", is_flag=True, help="Look up the messages' texts.")
def tail(
    settings: Settings,
    from_start: bool,
    follow: bool,
    count: int | None,
    as_objects: bool,
    show_text: bool,
) -> None:
    """Show verdicts as they come: entry, label and score, separated by tabs.

    \b
    filterd tail --text
    filterd tail --from-start --json --no-follow > verdicts.jsonl
    """
    from filterd import tail as work
    from filterd.entries import FieldNames
    from filterd.streams.names import StreamNames

    found, field = StreamNames.all_of(settings), FieldNames.of(settings).text
    with told_clients(settings.server, [names.input for names in found]) as clients:
        views = [
            work.View(client, names.output, names.input if show_text else None, field)
            for client, names in zip(clients, found, strict=True)
        ]
        render = work.as_json if as_objects else work.as_line
        for seen in work.chosen(views, from_start=from_start, follow=follow, count=count):
            _print([render(verdict) for verdict in seen])


def _only_one_source(texts: tuple[str, ...], source: Path | None) -> None:
    if texts and source is not None:
        raise click.UsageError("give either TEXT or --input, not both")


def chunks(texts: tuple[str, ...]) -> Iterator[list[str]]:
    """The arguments, or the lines of standard input where there are none."""
    from filterd.tables import lines_of

    if texts:
        yield list(texts)
        return
    if sys.stdin.isatty():
        click.echo("One message a line; Ctrl-D ends.", err=True)
    yield from lines_of(sys.stdin.buffer)


def _print(lines: list[str]) -> None:
    sys.stdout.writelines(line + "\n" for line in lines)
    sys.stdout.flush()
