"""``trainer evaluate``: an artifact, labelled messages, and what there is to compare with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from filterd import artifact as artifacts
from filterd.artifact import Artifact
from filterd.errors import DataError
from trainer import baseline as baselines
from trainer import dataset, evaluation, report
from trainer.dataset import Message
from trainer.evaluation import Alteration, Robustness, Scorer
from trainer.findings import Findings, worst
from trainer.splitting import fold

TRAIN = "train.csv"


def evaluate_command(
    artifact: Path,
    data: Path,
    *,
    report_to: Path | None = None,
    texts: bool = False,
    alterations: Mapping[str, Alteration] | None = None,
) -> Findings:
    """Measure an artifact on a file of messages, or on the test split of a prepared folder.

    The baseline is fitted and measured too where a ``train.csv`` lies beside the messages.
    texts: with those of the worst mistakes. alterations: by name, to measure robustness against.
    report_to: a folder to write the report into. Raises DataError and ArtifactError.
    """
    path = data / "test.csv" if data.is_dir() else data
    if data.is_dir() and not path.is_file():
        raise DataError(
            f"{data} has no test.csv: give a folder that trainer prepare made, or a file"
        )
    messages = dataset.read_any(path)
    loaded = artifacts.load(artifact)
    train = _training_split(path)
    found = evaluation.evaluate(loaded, messages)
    rival = baselines.fit(train) if train else None
    altered = partial(_altered, messages, alterations)
    findings = Findings(
        model=loaded.manifest.version,
        data=str(data),
        evaluation=found,
        mistakes=worst(messages, found, texts),
        baseline=rival.judge(messages) if rival else None,
        robustness=altered(partial(evaluation.score, loaded), found.threshold),
        baseline_robustness=altered(rival.score, rival.threshold) if rival else None,
        course=_course(loaded),
        notes=_notes(loaded, path, train, messages),
    )
    if report_to is not None:
        report.write_page(report_to, findings)
    return findings


def _altered(
    messages: Sequence[Message],
    alterations: Mapping[str, Alteration] | None,
    scorer: Scorer,
    threshold: float,
) -> list[Robustness] | None:
    if alterations is None:
        return None
    return evaluation.measure_robustness(scorer, messages, threshold, alterations)


def _training_split(path: Path) -> list[Message]:
    """What lies beside the measured file to train the baseline on, if anything."""
    beside = path.parent / TRAIN
    if path.name == TRAIN or not beside.is_file():
        return []
    return dataset.read_file(beside)


def _notes(
    artifact: Artifact, path: Path, train: Sequence[Message], messages: Sequence[Message]
) -> list[str]:
    """What makes the measures look better or worse than they are."""
    added = _of(artifact.manifest.data, "added")
    counts = added if isinstance(added, Mapping) else {}
    notes = []
    if counts.get(path.name):
        notes.append(
            f"the artifact learned {counts[path.name]:,} messages of a file called {path.name}: "
            "of this one, if it is the same, the measures say how well it learned by heart"
        )
    if not train:
        notes.append(f"no baseline: there is no other {TRAIN} beside {path.name} to train it on")
        return notes
    known = {fold(message.text) for message in train}
    repeated = sum(fold(message.text) in known for message in messages)
    if repeated:
        notes.append(
            f"{repeated:,} of {len(messages):,} messages are also in {TRAIN}: "
            "the measures are too good by as much as it has learned them by heart"
        )
    checksum = hashlib.sha256((path.parent / TRAIN).read_bytes()).hexdigest()
    learned = _of(artifact.manifest.data, "splits", "train", "sha256")
    if learned != checksum:
        notes.append(
            f"the artifact was not trained on the {TRAIN} that the baseline was trained on: "
            "they do not know the same messages"
        )
    if any(counts.values()):
        names = ", ".join(name for name, count in counts.items() if count)
        notes.append(f"the artifact also learned from {names}, which the baseline does not know")
    return notes


def _course(artifact: Artifact) -> dict[str, Any] | None:
    """The report that the artifact brings, where it brings one."""
    try:
        found = json.loads((artifact.path / "report" / "evaluation.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _of(values: object, *names: str) -> object:
    for name in names:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values
