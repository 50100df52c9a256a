"""``filterd audit`` and ``filterd doctor``: is all as it should be?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from filterd.commands.clients import told_clients
from filterd.options import ALL, Command

if TYPE_CHECKING:
    from filterd.settings import Settings

AUDITED = (
    *("redis_url", "input_stream", "output_stream", "dead_stream", "partitions"),
    *("group", "output_maxlen"),
)


@click.command(cls=Command, fields=AUDITED, short_help="Prove that nothing is lost or doubled.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object a partition.")
@click.option(
    "--list",
    "listed",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Name this many entries of each kind that is wrong.",
)
@click.pass_context
def audit(ctx: click.Context, settings: Settings, as_object: bool, listed: int) -> None:
    """Prove, from what the streams still hold, that every entry is exactly one of these: it has
    a verdict, or a dead letter, or it is pending, or not yet delivered. Daemons may go on working.

    Exit code 1 where that is not so, with the entries' ids.

    \b
    filterd audit
    filterd audit --json --list 1000
    """
    from filterd import auditing as work
    from filterd.streams.audit import audit, work_ahead
    from filterd.streams.names import StreamNames
    from filterd.terminal import progress

    found, sound = StreamNames.all_of(settings), True
    with told_clients(settings.server, [names.input for names in found]) as clients:
        for client, names in zip(clients, found, strict=True):
            ahead = work_ahead(client, names)
            with progress(f"auditing {names.input}", ahead, quiet_output=True) as watch:
                report = audit(client, names, settings.output_maxlen, watch)
            if names.partitioned and not as_object:
                click.echo(f"{names.input}:")
            for line in [work.as_json(report)] if as_object else work.as_lines(report, listed):
                click.echo(line)
            sound = sound and report.sound
    if not sound:
        ctx.exit(1)


@click.command(cls=Command, fields=ALL, short_help="Check the server, the artifact, the device.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object.")
@click.pass_context
def doctor(ctx: click.Context, settings: Settings, as_object: bool) -> None:
    """Check all that a daemon with these settings needs, and say what to change.

    One line a finding: ok, note, or change. Exit code 1 where something must be changed.

    \b
    filterd doctor
    filterd doctor --redis-url redis://redis.internal:6379/0 --json
    """
    from filterd import doctor as work

    findings = []
    for finding in work.examine(settings):
        findings.append(finding)
        if not as_object:
            click.echo(work.as_line(finding))
    if as_object:
        click.echo(work.as_json(findings))
    if not work.sound(findings):
        ctx.exit(1)
