"""``filterd replay``: what another artifact would have said."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filterd.options import Command

if TYPE_CHECKING:
    from filterd.settings import Settings

FIELDS = (
    *("redis_url", "input_stream", "text_field", "output_stream", "partitions"),
    *("artifact", "device", "precision", "threshold"),
)
EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command(cls=Command, fields=FIELDS, short_help="Show what another artifact would change.")
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option(
    "--hours",
    type=click.FloatRange(0, min_open=True),
    default=24.0,
    show_default=True,
    help="How far back; messages stay for FILTERD_INPUT_RETENTION_S.",
)
@click.option("--input", "source", type=EXISTING, help="A csv, tsv, jsonl or parquet file instead.")
@click.option("--column", default="text", show_default=True, help="Column that holds the text.")
@click.option(
    "--examples",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Messages shown that would get the other label, those that move furthest.",
)
@click.option("--text", "show_text", is_flag=True, help="Show their texts too.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object.")
def replay(
    settings: Settings,
    candidate: Path,
    hours: float,
    source: Path | None,
    column: str,
    examples: int,
    show_text: bool,
    as_object: bool,
) -> None:
    """Score the past with CANDIDATE, an artifact's folder, and show what would change.

    The past is the verdicts of the output stream, and their messages as long as the input stream
    holds them; of a file, what FILTERD_ARTIFACT says now. Nothing is written.

    \b
    filterd replay artifacts/challenger
    filterd replay artifacts/challenger --input inbox.csv --column body --text
    """
    from filterd import replay as work
    from filterd.classifier import Classifier
    from filterd.entries import FieldNames
    from filterd.streams.client import open_client
    from filterd.streams.names import StreamNames

    def load(path: Path | None) -> Classifier:
        return Classifier.load(
            path,
            device=settings.device,
            precision=settings.precision,
            threshold=settings.threshold,
        )

    classifier = load(candidate)
    found = work.Replayed(classifier.engine.manifest.version, examples)
    if source is not None:
        work.replay(classifier, work.from_file(source, column, load(settings.artifact)), found)
    else:
        names = FieldNames.of(settings)
        since_ms = int((time.time() - hours * 3600) * 1000)
        for own in StreamNames.all_of(settings):
            with open_client(settings.server, own.input) as client:
                streams = (own.output, own.input)
                past = work.from_streams(client, *streams, since_ms, found, names.text)
                work.replay(classifier, past, found)
    for line in [found.as_json(show_text)] if as_object else found.lines(show_text):
        click.echo(line)
