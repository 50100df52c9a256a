"""``trainer compose``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.commands.options import (
    DEFAULT_DATA,
    AnyPath,
    ExistingPath,
    debug_option,
    device_option,
    registry_option,
)

if TYPE_CHECKING:
    from trainer.distributed import Wanted


@click.command()
@debug_option
@click.option("--recipe", required=True, metavar="NAME|FILE.toml", help="Says what is learned.")
@click.option(
    "--data", type=AnyPath, default=DEFAULT_DATA, show_default=True, help="A prepared folder."
)
@click.option(
    "--extra", type=ExistingPath, multiple=True, help="A file of labelled messages to learn too."
)
@click.option(
    "--unseen",
    type=ExistingPath,
    multiple=True,
    help="A file of labelled messages neither to learn nor to write.",
)
@click.option(
    "--backbone",
    default="smollm2-135m-wheel",
    show_default=True,
    metavar="NAME|PATH",
    help="The pretrained language model that writes.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=2, show_default=True, help="Of learning."
)
@click.option(
    "--count", type=click.IntRange(min=1), default=10_000, show_default=True, help="Texts to write."
)
@click.option("--seed", type=click.IntRange(min=0), default=123, show_default=True)
@click.option("--output", type=AnyPath, required=True, help="A .txt with one a line.")
@device_option
@registry_option
def compose(
    recipe: str,
    data: Path,
    extra: tuple[Path, ...],
    unseen: tuple[Path, ...],
    backbone: str,
    epochs: int,
    count: int,
    seed: int,
    output: Path,
    device: Wanted,
    artifacts: Path,
) -> None:
    """Have a language model write texts like the messages at hand, for distill --texts.

    It learns all the messages first, whatever the count, and what it has learned is kept: the same
    command with another --seed and --output writes at once. Only a teacher's scores of the texts
    are learned, never the label that they were written for.
    """
    from trainer import recipe as recipes

    chosen = recipes.load(recipe)
    from trainer.composing import Wish
    from trainer.composing import compose as write
    from trainer.distillation import Sources
    from trainer.distributed import alone
    from trainer.registry import WORK

    sources = Sources(data, extra, (), unseen)
    wish = Wish(backbone, epochs, count, output, artifacts / WORK, seed)
    written = write(chosen, sources, wish, click.echo, alone(device))
    click.echo(f"wrote {written:,} texts to {output}")
