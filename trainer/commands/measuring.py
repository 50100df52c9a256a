"""``trainer evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filterd.errors import SettingsError
from trainer.commands.options import (
    AnyPath,
    ExistingPath,
    debug_option,
    device_option,
    registry_option,
)

if TYPE_CHECKING:
    from trainer.distributed import Wanted
    from trainer.findings import Findings


@click.command()
@debug_option
@click.argument("artifact", type=AnyPath)
@click.option(
    "--data",
    type=ExistingPath,
    required=True,
    help="A file of labelled messages, or a prepared folder, of which test.csv.",
)
@click.option("--report", type=AnyPath, help="A folder for one HTML page and its plots.")
@click.option("--show-texts", is_flag=True, help="The worst mistakes with their texts.")
@click.option("--robustness", is_flag=True, help="Also how much spam is found when it is altered.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    help="Cross-validate its recipe on all of a prepared folder instead.",
)
@click.option("--teacher", type=AnyPath, help="With --folds: what a distilled one learned from.")
@click.option(
    "--extra", type=ExistingPath, multiple=True, help="With --folds: labelled messages to add."
)
@click.option("--texts", type=ExistingPath, multiple=True, help="With --folds: texts to add.")
@device_option
@registry_option
def evaluate(
    artifact: Path,
    data: Path,
    report: Path | None,
    show_texts: bool,
    robustness: bool,
    as_json: bool,
    folds: int | None,
    teacher: Path | None,
    extra: tuple[Path, ...],
    texts: tuple[Path, ...],
    device: Wanted,
    artifacts: Path,
) -> None:
    """Measure an artifact on labelled messages, beside TF-IDF and a linear SVM where it can."""
    from trainer.augment import ALTERATIONS
    from trainer.evaluating import evaluate_command

    if folds:
        if report or show_texts or robustness:
            raise SettingsError("--folds gives measures alone: leave out --report and the like")
        crossed = _crossed(artifact, (data, extra, texts), folds, artifacts, teacher, device)
        _print(crossed, as_json)
        return
    if teacher or extra or texts:
        raise SettingsError("--teacher, --extra and --texts need --folds")
    findings = evaluate_command(
        artifact,
        data,
        report_to=report,
        texts=show_texts,
        alterations=ALTERATIONS if robustness else None,
    )
    _print(findings, as_json)
    if report and not as_json:
        click.echo(f"wrote {report}")


def _crossed(
    artifact: Path,
    files: tuple[Path, tuple[Path, ...], tuple[Path, ...]],
    folds: int,
    artifacts: Path,
    teacher: Path | None,
    device: Wanted,
) -> Findings:
    """Out-of-fold measures; features are kept beside all artifacts."""
    from trainer.crossing import cross_validate
    from trainer.distillation import Sources
    from trainer.distributed import alone
    from trainer.findings import Findings
    from trainer.registry import WORK

    def say(line: str) -> None:
        click.echo(line, err=True)

    sources, workers = Sources(*files), alone(device)
    work = artifacts / WORK
    crossed = cross_validate(artifact, sources, folds, work, say, teacher, workers)
    return Findings(
        f"{crossed.model}, its recipe in {folds} folds",
        str(files[0]),
        crossed.evaluation,
        [],
        baseline=crossed.baseline,
    )


def _print(findings: Findings, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(findings.as_json()))
        return
    for line in findings.lines():
        click.echo(line)
