"""``filterd run`` and ``filterd demo``: the daemon, alone or with all it needs beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filterd.options import ALL, Command

if TYPE_CHECKING:
    from filterd.settings import Settings


@click.command(cls=Command, fields=ALL, short_help="Serve until SIGTERM or Ctrl-C.")
def run(settings: Settings) -> None:
    """Serve: read messages, publish verdicts, until SIGTERM or Ctrl-C.

    \b
    filterd run
    filterd run --redis-url redis://redis.internal:6379/0
    filterd run --redis-url embedded:./filterd-data
    """
    from filterd.notify import Notifier
    from filterd.service import run_daemon

    run_daemon(settings, Notifier.from_environment(os.environ))


@click.command(
    cls=Command, fields=("artifact", "device"), short_help="Show it all at work, on a sample."
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 10000),
    default=5.0,
    show_default=True,
    help="Messages a second.",
)
@click.option("--count", type=click.IntRange(1), help="End after this many messages.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the data and the log here.  [default: a folder removed at the end]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=9108,
    show_default=True,
    help="Port of the metrics; another one is taken where it is in use.",
)
def demo(
    settings: Settings, rate: float, count: int | None, directory: Path | None, port: int
) -> None:
    """Show it all at work: a server, the daemon, and a sample of messages flowing through.

    \b
    filterd demo
    filterd demo --rate 50 --count 1000
    """
    from filterd.demo import Plan, run_demo

    artifact = None if settings.artifact is None else settings.artifact.resolve()
    run_demo(Plan(rate, count, directory, port, artifact, settings.device))
