"""``trainer cascade``."""

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
@click.argument("fast", type=AnyPath)
@click.argument("large", type=AnyPath)
@click.option(
    "--data", type=AnyPath, default=DEFAULT_DATA, show_default=True, help="A prepared folder."
)
@click.option(
    "--unseen",
    type=ExistingPath,
    multiple=True,
    help="Labelled messages that neither has learned from: used as they are, instead of folds.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    help="Train both recipes anew in so many folds of --data; with --unseen, only try bands so.",
)
@click.option("--extra", type=ExistingPath, multiple=True, help="What both learned from beside.")
@click.option("--texts", type=ExistingPath, multiple=True, help="Texts a distilled one learned.")
@click.option("--teacher", type=AnyPath, help="What a distilled one learned from.")
@device_option
@click.option("--output", type=AnyPath, help="The artifact's folder [VERSION among all]")
@registry_option
def cascade(
    fast: Path,
    large: Path,
    data: Path,
    unseen: tuple[Path, ...],
    folds: int,
    extra: tuple[Path, ...],
    texts: tuple[Path, ...],
    teacher: Path | None,
    output: Path | None,
    artifacts: Path,
    device: Wanted,
) -> None:
    """Join two artifacts: FAST answers what it is sure of, LARGE the rest.

    Between which scores LARGE is asked is fitted on scores of messages that the models had not
    seen, for no loss of F1 against LARGE alone.
    """
    from trainer.cascading import Pair
    from trainer.cascading import cascade as make
    from trainer.distillation import Sources
    from trainer.distributed import ALONE, alone
    from trainer.make import Place

    sources = Sources(data, extra, texts, unseen)
    pair, workers = Pair(fast, large, teacher), ALONE if unseen else alone(device)
    target, found = make(pair, sources, folds, Place.among(artifacts, output), _say, workers)
    click.echo(
        f"F1 of {found.rows:,} unseen messages: fast {found.fast_f1:.4f}, large "
        f"{found.large_f1:.4f}, cascade {found.f1:.4f} with {found.answered:.1%} answered by fast"
    )
    click.echo(
        f"bands of the other folds: F1 {found.unseen_f1:.4f} with {found.unseen_answered:.1%}"
    )
    click.echo(f"wrote {target}")


def _say(line: str) -> None:
    click.echo(line, err=True)
