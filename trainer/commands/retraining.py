"""``trainer retrain``: the scheduled job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from trainer.commands.options import debug_option

if TYPE_CHECKING:
    from trainer.retraining.job import Job
    from trainer.settings import TrainerSettings


class _Command(click.Command):
    """A command that takes the trainer's settings as options; it gets them as ``settings``."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own options, then those of the settings."""
        from filterd.options import option
        from trainer.settings import PREFIX, TrainerSettings

        own = super().get_params(ctx)  # the last one is --help
        fields = TrainerSettings.model_fields
        return [*own[:-1], *(option(PREFIX, name, fields[name]) for name in fields), *own[-1:]]

    def invoke(self, ctx: click.Context) -> Any:
        """Read the settings; options that were given win over the environment."""
        from trainer.settings import TrainerSettings

        given = {name: ctx.params.pop(name) for name in TrainerSettings.model_fields}
        ctx.params["settings"] = TrainerSettings.load(
            **{name: value for name, value in given.items() if value is not None}
        )
        return super().invoke(ctx)


@click.command(cls=_Command)
@debug_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object for what became of it.")
def retrain(settings: TrainerSettings, as_json: bool) -> None:
    """Train a challenger on new feedback, and promote it if it passes the gate.

    For a scheduler: one run at a time, and what is interrupted leaves everything as it was. Ends
    with 0 when it promoted, kept the champion or had nothing to do (the line says which), 1 when
    it failed or another run is going on, 2 when it was used wrongly. FILTERD_REDIS_URL and the
    names of the streams are the daemon's.
    """
    from trainer.retraining import textfile
    from trainer.succession import Registry

    ended = None
    try:
        with _job(settings) as job:
            ended = job.run()
    finally:
        if settings.metrics_file is not None:
            changes = Registry(settings.artifacts).history()
            textfile.write(settings.metrics_file, ended, [c for c in changes if c.run])
    if as_json:
        click.echo(json.dumps(ended.as_json()))
        return
    click.echo(f"{ended.outcome}: {ended.why}")
    if ended.report is not None:
        new = ended.champion == ended.challenger
        names = "" if new else f", challenger {ended.challenger}"
        click.echo(f"champion {ended.champion}{names}: {ended.report}")


@contextmanager
def _job(settings: TrainerSettings) -> Iterator[Job]:
    """The job, connected to where feedback and traffic are."""
    from filterd.entries import FieldNames
    from filterd.settings import Settings
    from filterd.streams.client import open_client
    from filterd.streams.feedback import FeedbackStream
    from filterd.streams.names import StreamNames
    from trainer.retraining.job import Job
    from trainer.retraining.traffic import Traffic

    where = Settings.load()
    names = StreamNames.all_of(where)
    with ExitStack() as stack:
        client = stack.enter_context(open_client(where.server, where.feedback_stream))
        inputs = tuple(own.input for own in names)
        partitions = [
            (stack.enter_context(open_client(where.server, own.input)), own.input, own.output)
            for own in names
        ]
        fields = FieldNames.of(where)
        limits = (where.max_text_bytes, fields)
        homes = {home: reader for reader, home, _ in partitions}
        stream = FeedbackStream(client, where.feedback_stream, inputs, *limits, homes)
        traffic = Traffic(partitions, fields.text)
        yield Job(
            settings, stream, traffic, lambda line: click.echo(line, err=True), lambda _: None
        )
