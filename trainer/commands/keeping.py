"""``trainer list``, ``show``, ``promote``, ``rollback`` and ``prune``: the registry."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from trainer.commands.options import debug_option, registry_option

why_option = click.option("--why", default="", help="For the history.")


@click.command("list")
@debug_option
@registry_option
@click.option("--history", "past", is_flag=True, help="Who was champion when, and why, instead.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(artifacts: Path, past: bool, as_json: bool) -> None:
    """List the artifacts, newest first, and which is champion and challenger."""
    from trainer import showing
    from trainer.succession import Registry

    registry = Registry(artifacts)
    changes = registry.history() if past else []
    rows = [asdict(change) for change in changes] if past else showing.rows(registry)
    if as_json:
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    else:
        lines = showing.told(changes) if past else showing.listed(showing.rows(registry))
    for line in lines:
        click.echo(line)
    for line in [] if past else registry.sorted_out()[1]:
        click.echo(f"left out: {line}", err=True)


@click.command()
@debug_option
@registry_option
@click.argument("names", nargs=-1, metavar="[ARTIFACT]...")
@click.option("--json", "as_json", is_flag=True, help="The manifests, without the lists of files.")
def show(artifacts: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Verify artifacts and show their measures side by side, and the card of a single one.

    ARTIFACT is champion, challenger, a version or a folder; without any, champion and challenger.
    """
    from filterd.artifact import load
    from filterd.errors import ArtifactError
    from trainer import showing
    from trainer.succession import LINKS, Registry

    registry = Registry(artifacts)
    chosen = names or tuple(link for link in LINKS if registry.linked(link))
    if not chosen:
        raise ArtifactError(
            f"{artifacts} has neither a champion nor a challenger: name an artifact"
        )
    paths = [registry.find(name) for name in chosen]
    manifests = [load(path).manifest for path in paths]
    if as_json:
        for manifest in manifests:
            click.echo(manifest.model_dump_json(exclude={"files"}))
        return
    lines = showing.side_by_side(manifests)
    if len(paths) == 1:
        lines += ["", *showing.card(paths[0])]
    for line in lines:
        click.echo(line)


@click.command()
@debug_option
@registry_option
@click.argument("artifact")
@why_option
@click.option(
    "--after-shadow",
    is_flag=True,
    help="Only if daemons with FILTERD_SHADOW_SHARE have seen it agree with the champion.",
)
@click.option(
    "--least", type=click.IntRange(1), default=1000, show_default=True, help="On so many messages."
)
@click.option(
    "--agreement",
    type=click.FloatRange(0, 1),
    default=0.98,
    show_default=True,
    help="On such a share of them.",
)
def promote(
    artifacts: Path, artifact: str, why: str, after_shadow: bool, least: int, agreement: float
) -> None:
    """Make an artifact the champion, which daemons then load by themselves.

    ARTIFACT is challenger, a version, a folder (copied in from elsewhere), or starter.
    """
    from trainer.succession import Registry

    registry = Registry(artifacts)
    name = registry.bring(registry.find(artifact))
    if after_shadow:
        from trainer.evidence import shadowed

        evidence = shadowed(registry, name, least, agreement)
        why = f"{why}; {evidence}" if why else evidence
    registry.promote(name, why or "promoted by hand")
    click.echo(f"{artifacts / 'champion'} is {name}")
    if doubt := registry.doubt(name):
        click.echo(f"warning: {doubt}", err=True)


@click.command()
@debug_option
@registry_option
@click.argument("version", required=False)
@why_option
def rollback(artifacts: Path, version: str | None, why: str) -> None:
    """Make an earlier champion the champion again: VERSION, or the one before the present one."""
    from trainer.succession import Registry

    registry = Registry(artifacts)
    name = None if version is None else registry.find(version).name
    change = registry.roll_back(name, why or "rolled back by hand")
    click.echo(f"{artifacts / 'champion'} is {change.champion}")


@click.command()
@debug_option
@registry_option
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many of the last champions, newest artifacts and retrainings stay.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def prune(artifacts: Path, keep: int, dry_run: bool) -> None:
    """Remove old artifacts; never one that is linked, nor one of the last champions.

    With them go the folders of all retrainings but the last, with the messages they learned from.
    """
    from trainer.pruning import prune as remove
    from trainer.succession import Registry

    gone = remove(Registry(artifacts), keep, dry_run=dry_run)
    for name in gone:
        click.echo(f"{'would remove' if dry_run else 'removed'} {name}")
    if not gone:
        click.echo("nothing to remove")
