"""The trainer's commands. Thin: each imports what it needs when it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import click

from filterd.errors import FilterdError, SettingsError

DEFAULT_DATA = Path("data/sms-spam-collection")

AnyPath = click.Path(path_type=Path)
ExistingPath = click.Path(exists=True, path_type=Path)


@dataclass
class _State:
    """What ``main`` must know when a command has failed."""

    debug: bool = False


def _remember_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().ensure_object(_State).debug = True


def _debug(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_remember_debug,
        help="Show the traceback of an error.",
    )(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@_debug
@click.version_option(package_name="filterd")
def cli() -> None:
    """From labelled messages to an artifact that filterd serves."""


@cli.command()
@_debug
@click.option("--source", type=click.Choice(["sms-spam-collection"]), required=True)
@click.option(
    "--path",
    type=ExistingPath,
    help="A local zip, file or folder instead of the download; or your own labelled messages as "
    ".csv, .tsv, .jsonl or .parquet.",
)
@click.option("--url", help="Another address to download the zip from.")
@click.option(
    "--output",
    type=AnyPath,
    help=f"Folder for the CSVs and the data card [default: {DEFAULT_DATA}, for own data data/NAME]",
)
@click.option("--seed", default=123, show_default=True, help="Decides which side a text is on.")
@click.option("--article", is_flag=True, help="The article's own balanced split instead.")
@click.option("--text-column", help="Own data: the text's column, where it cannot be guessed.")
@click.option("--label-column", help="Own data: the label's column, where it cannot be guessed.")
def prepare(
    source: str,
    path: Path | None,
    url: str | None,
    output: Path | None,
    seed: int,
    article: bool,
    text_column: str | None,
    label_column: str | None,
) -> None:
    """Make train, validation and test CSVs without duplicates, and a data card."""
    from trainer import prepare as preparing
    from trainer import source as sources

    if path and url:
        raise SettingsError("--path and --url exclude each other")
    found = sources.local(path) if path else sources.download(url or sources.URL)
    own = Path("data") / Path(found.name).stem
    folder = output or (DEFAULT_DATA if found.is_sms_spam_collection else own)
    if article:
        card = preparing.prepare_as_article(found, folder)
    else:
        card = preparing.prepare(found, folder, seed, (text_column, label_column))
    click.echo(preparing.summary(card, folder))


@cli.command()
@_debug
@click.option("--recipe", required=True, metavar="NAME|FILE.toml", help="What to train, and how.")
@click.option(
    "--data", type=AnyPath, default=DEFAULT_DATA, show_default=True, help="A prepared folder."
)
@click.option("--output", type=AnyPath, help="The artifact's folder [default: artifacts/VERSION]")
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help="Change the recipe.")
def train(recipe: str, data: Path, output: Path | None, overrides: tuple[str, ...]) -> None:
    """Train a classifier and write it as an artifact."""
    from trainer import recipe as recipes

    chosen = recipes.load(recipe, overrides)
    from trainer.make import make

    target, artifact = make(chosen, data, output, click.echo)
    numbers = artifact.manifest.metrics
    click.echo(
        f"test split: F1 {numbers['test_f1']:.4f}, AUC {numbers['test_auc']:.4f}, "
        f"accuracy {numbers['test_accuracy']:.2%} of {numbers['test_rows']:.0f}"
    )
    click.echo(f"wrote {target} ({artifact.manifest.version})")


@cli.command()
@_debug
@click.argument("artifact", type=AnyPath)
@click.option(
    "--data",
    type=ExistingPath,
    required=True,
    help="A file of labelled messages, or a prepared folder, of which test.csv.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def evaluate(artifact: Path, data: Path, as_json: bool) -> None:
    """Measure an artifact on labelled messages."""
    from filterd.artifact import load
    from trainer.dataset import read_file
    from trainer.evaluation import evaluate as measure

    messages = read_file(data / "test.csv" if data.is_dir() else data)
    loaded = load(artifact)
    values = asdict(measure(loaded, messages).measures)
    if as_json:
        click.echo(json.dumps({"model": loaded.manifest.version, "data": str(data), **values}))
        return
    for name, value in values.items():
        shown = f"{value:.4f}" if isinstance(value, float) else str(value)
        click.echo(f"{name.replace('_', ' '):<12} {shown}")


@cli.command()
@_debug
@click.argument("artifact", type=AnyPath)
def show(artifact: Path) -> None:
    """Verify an artifact and print its manifest, without the list of files."""
    from filterd.artifact import load

    click.echo(load(artifact).manifest.model_dump_json(indent=2, exclude={"files"}))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line: 0 done, 1 failed, 2 used wrongly; errors are one line on stderr."""
    state = _State()
    try:
        cli.main(arguments, prog_name="trainer", obj=state, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except (FilterdError, OSError) as error:
        if state.debug:
            raise
        _fail(_one_line(error), getattr(error, "exit_code", 1))
    sys.exit(0)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def _fail(line: str, code: int) -> NoReturn:
    click.echo(f"trainer: {line}", err=True)
    sys.exit(code)
