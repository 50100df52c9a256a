"""``filterd feedback``: what people think of verdicts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from filterd.options import Command

if TYPE_CHECKING:
    from filterd.entries import Label
    from filterd.feedback import Word
    from filterd.settings import Settings

STREAMS = (
    *("redis_url", "input_stream", "text_field", "id_field", "partitions"),
    *("feedback_stream", "max_text_bytes"),
)


@click.command(cls=Command, fields=STREAMS, short_help="Say what a message really is.")
@click.argument("label", required=False, type=click.Choice(["spam", "ham"]))
@click.argument("text", required=False)
@click.option("--entry", metavar="ID", help="The message's id in the input stream, not its text.")
@click.option("--stream", metavar="NAME", help="The input stream of ID, where there are several.")
@click.option("--withdraw", metavar="ID", help="Take back the feedback that printed this id.")
@click.option("--id", "own_id", help="Your own id of the message.")
@click.option("--source", default="cli", show_default=True, help="Who says so.")
@click.option("--json", "as_objects", is_flag=True, help="A JSON object instead of the id alone.")
def feedback(
    settings: Settings,
    label: Label | None,
    text: str | None,
    entry: str | None,
    stream: str | None,
    withdraw: str | None,
    own_id: str | None,
    source: str,
    as_objects: bool,
) -> None:
    """Say what a message really is; the next training learns from it.

    Prints the id of the feedback, with which it can be taken back. Of several words on one text
    the latest stands.

    \b
    filterd feedback spam "You won! Call now"
    filterd feedback ham --entry 1700000000000-0
    filterd feedback --withdraw 1700000000500-0
    """
    if entry and not stream:  # as `filterd publish` prints it, where there are several
        entry, _, stream = entry.partition("\t")
    word = _word(label, text, entry, stream or None, withdraw, own_id, source)
    from filterd.entries import FieldNames
    from filterd.feedback import Withdrawal
    from filterd.streams.client import open_clients
    from filterd.streams.feedback import FeedbackStream
    from filterd.streams.names import StreamNames

    inputs = tuple(names.input for names in StreamNames.all_of(settings))
    if entry and not stream and len(inputs) > 1:
        raise click.UsageError(f"--entry among {len(inputs)} streams needs --stream NAME")
    name, home = settings.feedback_stream, stream or inputs[0]
    with open_clients(settings.server, [name, home] if entry else [name]) as (client, *messages):
        limits = (settings.max_text_bytes, FieldNames.of(settings))
        homes = {home: messages[0]} if messages else {}
        opinions = FeedbackStream(client, name, inputs, *limits, homes)
        done: Word
        if isinstance(word, Withdrawal):
            done = opinions.withdraw(word.withdraws)
        else:
            done = opinions.correct(word)
    click.echo(_as_json(done) if as_objects else done.id)


def _word(
    label: Label | None,
    text: str | None,
    entry: str | None,
    stream: str | None,
    withdraw: str | None,
    own_id: str | None,
    source: str,
) -> Word:
    from filterd.feedback import Correction, Withdrawal

    if label is None:
        if withdraw is None:
            raise click.UsageError("give either spam or ham, or --withdraw ID")
        if not (entry is stream is own_id is None):
            raise click.UsageError("--withdraw goes alone")
        return Withdrawal("", withdraw)
    if withdraw is not None:
        raise click.UsageError("give either spam or ham, or --withdraw ID")
    if (text is None) == (entry is None):
        raise click.UsageError("give either TEXT or --entry ID")
    if stream is not None and entry is None:
        raise click.UsageError("--stream goes with --entry")
    return Correction("", label, text, entry, stream=stream, own_id=own_id, source=source)


def _as_json(word: Word) -> str:
    from filterd.feedback import encode

    fields = {name.decode(): value.decode() for name, value in encode(word).items()}
    return json.dumps({"feedback": word.id, **fields}, ensure_ascii=False)
