"""``filterd dead list|show|replay|drop``: what could not be scored, and what becomes of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from filterd.commands.clients import told_clients
from filterd.options import Command

if TYPE_CHECKING:
    from filterd.deadletters import Found
    from filterd.settings import Settings
    from filterd.streams.dead import DeadLetters

STREAMS = (
    *("redis_url", "input_stream", "output_stream", "dead_stream", "partitions"),
    *("group", "output_maxlen"),
)

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
    with _letters(settings) as partitions:
        now_ms = partitions[0].now_ms()
        for found in work.chosen(partitions, (), reasons):
            click.echo(render(found, now_ms))


@dead.command(cls=Command, fields=STREAMS, short_help="All about some letters.")
@click.argument("ids", nargs=-1, required=True, metavar="LETTER...")
@click.option("--text", "show_text", is_flag=True, help="Show what the fields hold.")
def show(settings: Settings, ids: tuple[str, ...], show_text: bool) -> None:
    """All about some letters, but what their fields hold only with --text.

    \b
    filterd dead show 1700000000000-0 --text
    filterd dead show 3/1700000000000-0    (of partition 3)
    """
    from filterd import deadletters as work

    with _letters(settings) as partitions:
        now_ms = partitions[0].now_ms()
        for found in work.chosen(partitions, ids, ()):
            fields = found.among.message(found.letter.id)
            for line in work.in_full(found, now_ms, fields, show_text=show_text):
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

    Prints each letter's id and its message's new one; where there are partitions, its stream too.

    \b
    filterd dead replay 1700000000000-0
    filterd dead replay --reason poison --yes
    """
    _close(settings, ids, reasons, everything, yes, "Replay", lambda found: found.replay())


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
    _close(settings, ids, reasons, everything, yes, "Drop", lambda found: found.drop())


def _close(
    settings: Settings,
    ids: tuple[str, ...],
    reasons: tuple[str, ...],
    everything: bool,
    yes: bool,
    what: str,
    act: Callable[[Found], str | None],
) -> None:
    if not ids and not reasons and not everything:
        raise click.UsageError("say which: LETTER..., --reason or --all")
    if ids and (reasons or everything):
        raise click.UsageError("give either LETTER... or --reason and --all")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: give --yes")
    from filterd.deadletters import chosen
    from filterd.terminal import note, progress

    with _letters(settings) as partitions:
        meant = list(chosen(partitions, ids, reasons))
        question = f"{what} {len(meant)} of the dead letters in {settings.dead_stream}?"
        if meant and not yes:
            click.confirm(question, abort=True, err=True)
        done = 0
        with progress(what.lower(), len(meant), quiet_output=False) as watch:
            for number, found in enumerate(meant, 1):
                if (line := act(found)) is not None:
                    done += 1
                    click.echo(line)
                watch(number)
    others = len(meant) - done
    note(f"{what.lower()}: {done} done" + (f", {others} closed by somebody else" if others else ""))


@contextmanager
def _letters(settings: Settings) -> Iterator[list[DeadLetters]]:
    """The dead letters of each partition."""
    from filterd.streams.dead import DeadLetters
    from filterd.streams.names import StreamNames

    names = StreamNames.all_of(settings)
    with told_clients(settings.server, [own.dead for own in names]) as clients:
        yield [
            DeadLetters(client, own, settings.output_maxlen)
            for client, own in zip(clients, names, strict=True)
        ]
