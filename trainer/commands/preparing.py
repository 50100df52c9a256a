"""``trainer prepare``."""

from __future__ import annotations

from pathlib import Path

import click

from filterd.errors import SettingsError
from trainer.commands.options import DEFAULT_DATA, AnyPath, ExistingPath, debug_option


@click.command()
@debug_option
@click.option(
    "--source", type=click.Choice(["sms-spam-collection"]), help="A public set to download."
)
@click.option(
    "--path",
    type=ExistingPath,
    help="Your own labelled messages as .csv, .tsv, .jsonl or .parquet; or a local zip, file or "
    "folder of the public set instead of the download.",
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
    source: str | None,
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

    if not (source or path or url):
        raise click.UsageError("Give --path with your own messages, or --source with a public set.")
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
