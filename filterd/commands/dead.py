"""``filterd dead list|show|replay|drop``: what could not be scored, and what becomes of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from filterd.options import Command

if TYPE_CHECKING:
    from filterd.entries import Letter
    from filterd.settings import Settings
    from filterd.streams.dead import DeadLetters

STREAMS = ("redis_url", "input_stream", "output_stream", "dead_stream", "group", "output_maxlen")

reasons_option = click.option(
    "--reason",
    "reasons",
    multiple=True,
    metavar="REASON",
    help="Only letters of this reason; may be given again.",
)
all_option = click.option("--all", "everything", is_flag=True, help="All letters that there are.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.group(short_help="List, show, replay or drop dead letters.")
def dead() -> None:
    """What could not be scored, and what becomes of it.

    \b
    filterd dead list --reason poison
    filterd dead show 1700000000000-0 --text
    filterd dead replay --all
    """


@dead.command("list", cls=Command, fields=STREAMS, short_help="One line a letter.")
@reasons_option
@click.option("--json", "as_objects", is_flag=True, help="One JSON object a line.")
def list_letters(settings: Settings, reasons: tuple[str, ...], as_objects: bool) -> None:
    """One line a letter: id, reason, age, deliveries, entry and detail, separated by tabs.

    \b
    filterd dead list
    filterd dead list --reason poison --json
    """
    from filterd import deadletters as work

    render = work.as_json if as_objects else work.as_line
    with _letters(settings) as letters:
        now_ms = letters.now_ms()
        for letter in work.chosen(letters, (), reasons):
            click.echo(render(letter, now_ms))


@dead.command(cls=Command, fields=STREAMS, short_help="All about some letters.")
@click.argument("ids", nargs=-1, required=True, metavar="LETTER...")
@click.option("--text", "show_text", is_flag=True, help="Show what the fields hold.")
def show(settings: Settings, ids: tuple[str, ...], show_text: bool) -> None:
    """All about some letters, but what their fields hold only with --text.

    \b
    filterd dead show 1700000000000-0 --text
    """
    from filterd import deadletters as work

    with _letters(settings) as letters:
        now_ms = letters.now_ms()
        for letter in work.chosen(letters, _checked(ids), ()):
            fields = letters.message(letter.id)
            for line in work.in_full(letter, now_ms, fields, show_text=show_text):
                click.echo(line)


@dead.command(cls=Command, fields=STREAMS, short_help="Put messages back into the input stream.")
@click.argument("ids", nargs=-1, metavar="[LETTER]...")
@reasons_option
@all_option
@yes_option
def replay(
    settings: Settings, ids: tuple[str, ...], reasons: tuple[str, ...], everything: bool, yes: bool
) -> None:
    """Put messages back into the input stream, each byte as it was, and remove their letters.

    Prints each letter's id and its message's new one.

    \b
    filterd dead replay 1700000000000-0
    filterd dead replay --reason poison --yes
    """

    def act(letters: DeadLetters, letter: Letter) -> str | None:
        new = letters.replay(letter)
        return None if new is None else f"{letter.id}\t{new}"

    _close(settings, ids, reasons, everything, yes, "Replay", act)


@dead.command(cls=Command, fields=STREAMS, short_help="Remove letters for good.")
@click.argument("ids", nargs=-1, metavar="[LETTER]...")
@reasons_option
@all_option
@yes_option
def drop(
    settings: Settings, ids: tuple[str, ...], reasons: tuple[str, ...], everything: bool, yes: bool
) -> None:
    """Remove letters for good; their messages are never scored. Prints their ids.

    \b
    filterd dead drop 1700000000000-0
    filterd dead drop --reason too-large --yes
    """

    def act(letters: DeadLetters, letter: Letter) -> str | None:
        return letter.id if letters.drop(letter) else None

    _close(settings, ids, reasons, everything, yes, "Drop", act)


def _close(
    settings: Settings,
    ids: tuple[str, ...],
    reasons: tuple[str, ...],
    everything: bool,
    yes: bool,
    what: str,
    act: Callable[[DeadLetters, Letter], str | None],
) -> None:
    if not ids and not reasons and not everything:
        raise click.UsageError("say which: LETTER..., --reason or --all")
    if ids and (reasons or everything):
        raise click.UsageError("give either LETTER... or --reason and --all")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: give --yes")
    from filterd.deadletters import chosen
    from filterd.terminal import note, progress

    with _letters(settings) as letters:
        meant = list(chosen(letters, _checked(ids), reasons))
        question = f"{what} {len(meant)} of the dead letters in {settings.dead_stream}?"
        if meant and not yes:
            click.confirm(question, abort=True, err=True)
        done = 0
        with progress(what.lower(), len(meant), quiet_output=False) as watch:
            for number, letter in enumerate(meant, 1):
                if (line := act(letters, letter)) is not None:
                    done += 1
                    click.echo(line)
                watch(number)
    others = len(meant) - done
    note(f"{what.lower()}: {done} done" + (f", {others} closed by somebody else" if others else ""))


def _checked(ids: tuple[str, ...]) -> tuple[str, ...]:
    from filterd.streams.id_table import is_id

    for id_ in ids:
        if not is_id(id_.encode(errors="replace")):
            raise click.UsageError(f"{id_} is no dead letter's id, which has the form MS-NUMBER")
    return ids


@contextmanager
def _letters(settings: Settings) -> Iterator[DeadLetters]:
    from filterd.streams.client import open_client
    from filterd.streams.dead import DeadLetters
    from filterd.streams.names import StreamNames

    names = StreamNames.of(settings)
    with open_client(settings.server, names.input) as client:
        yield DeadLetters(client, names, settings.output_maxlen)
