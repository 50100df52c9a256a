"""``filterd bench``: how much a daemon can take."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filterd.options import Command

if TYPE_CHECKING:
    from filterd.bench import Step
    from filterd.settings import Settings

HEAD = ("rate", "left", "done", "p50", "p90", "p99", "p99.9", "max ms", "dead", "missing")
PERCENTS = ("50", "90", "99", "99.9")
NEW = click.Path(path_type=Path, dir_okay=False)


@click.command(
    cls=Command,
    fields=(
        *("redis_url", "input_stream", "text_field", "id_field", "partitions"),
        *("output_stream", "dead_stream"),
    ),
    short_help="Send messages at given rates; show throughput and latency.",
)
@click.option(
    "--rate",
    "rates",
    type=click.FloatRange(0, min_open=True),
    multiple=True,
    help="Messages a second; may be given several times.  [default: 100]",
)
@click.option(
    "--duration",
    "seconds",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds of each rate.",
)
@click.option("--sweep", "sweeping", is_flag=True, help="Find the highest rate within the bound.")
@click.option(
    "--bound-ms",
    type=click.FloatRange(0, min_open=True),
    default=100.0,
    show_default=True,
    help="With --sweep: milliseconds that the percentile may take.",
)
@click.option(
    "--percentile",
    type=click.Choice(PERCENTS),
    default="99",
    show_default=True,
    help="With --sweep: percent of the messages that must be within the bound.",
)
@click.option(
    "--repeats",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of messages whose text came before, as in a campaign.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds without any verdict until the rest counts as missing.",
)
@click.option(
    "--input",
    "source",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A csv, tsv, jsonl or parquet file of messages.  [default: the sample that comes along]",
)
@click.option("--column", default="text", show_default=True, help="Column that holds the text.")
@click.option("--output", type=NEW, help="Write all figures to this JSON file.")
@click.option("--plot", "plot_to", type=NEW, help="Draw latency by rate: .png, .svg or .pdf.")
@click.option("--json", "as_objects", is_flag=True, help="One JSON object a rate.")
def bench(
    settings: Settings,
    rates: tuple[float, ...],
    seconds: float,
    sweeping: bool,
    bound_ms: float,
    percentile: str,
    repeats: float,
    wait_s: float,
    source: Path | None,
    column: str,
    output: Path | None,
    plot_to: Path | None,
    as_objects: bool,
) -> None:
    """Send messages at given rates to a running daemon; show throughput and latency.

    Messages leave at random times, however slow the answers are; a latency counts from when its
    message was meant to leave until its verdict is seen here. The messages and their verdicts stay
    in the streams: name streams of their own where others read them.

    \b
    filterd bench --rate 100 --rate 500 --duration 30
    filterd bench --sweep --bound-ms 50 --plot latency.svg --output latency.json
    """
    if sweeping and len(rates) > 1:
        raise click.UsageError("--sweep starts from one --rate")
    from filterd import bench as work
    from filterd import sweep
    from filterd.entries import FieldNames
    from filterd.streams.client import open_client
    from filterd.streams.names import StreamNames
    from filterd.terminal import note, progress, write_line

    if plot_to is not None:
        sweep.check_plot(plot_to)
    texts = work.texts_of(source, column)
    bound = sweep.Bound(float(percentile), bound_ms) if sweeping else None
    if not as_objects:
        write_line(_row(HEAD))
    own, *others = StreamNames.all_of(settings)
    if others:
        raise click.UsageError(f"a bench loads one partition: --partitions 1 loads {own.input}")
    names = (own.input, own.output, own.dead)
    with open_client(settings.server, own.input) as client:
        streams = work.Streams(*names, FieldNames.of(settings))
        runner = work.Bench(client, streams, texts)

        def measure(rate: float) -> Step:
            load = work.Load(rate, seconds, wait_s, repeats)
            with progress(f"{rate:g} a second", int(rate * seconds), quiet_output=True) as bar:
                step = runner.run(load, bar)
            write_line(json.dumps(step.as_json()) if as_objects else _row(_cells(step)))
            sys.stdout.flush()
            note(_behind(step))
            return step

        if bound is None:
            best, steps = None, tuple(measure(rate) for rate in rates or (100.0,))
        else:
            found = sweep.sweep(measure, bound, (*rates, 100.0)[0])
            best, steps = found.best_rate, found.steps
            note(_said(best, bound.percentile, bound.ms))
    if output is not None:
        result: dict[str, Any] = {
            "streams": dict(zip(("input", "output", "dead"), names, strict=True)),
            "repeats": repeats,
            "steps": [step.as_json() for step in steps],
        }
        if bound is not None:
            result["sweep"] = {**asdict(bound), "best_rate": best}
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if plot_to is not None:
        sweep.plot(steps, bound, plot_to)


def _cells(step: Step) -> tuple[str, ...]:
    latency = [f"{value:.1f}" for value in step.latency_ms.values()]
    return (
        *(f"{step.rate:g}", f"{step.sent_rate:g}", f"{step.throughput:g}"),
        *latency,
        *(str(step.dead_letters), str(step.missing)),
    )


def _row(cells: Sequence[str]) -> str:
    return " ".join(f"{cell:>8}" for cell in cells)


def _behind(step: Step) -> str:
    """A word where the rate was too much; nothing else."""
    if not step.fell_behind:
        return ""
    return f"{step.rate:g} a second is more than the daemon does: what waits grew meanwhile"


def _said(best: float | None, percentile: float, bound_ms: float) -> str:
    promise = f"p{percentile:g} within {bound_ms:g} ms"
    if best is None:
        return f"no rate had {promise}"
    return f"highest rate with {promise}: {best:g} a second"
