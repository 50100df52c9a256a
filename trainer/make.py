"""``trainer train``: prepared data and a recipe become an artifact."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filterd.artifact import Artifact
from filterd.errors import DataError
from trainer import registry, report
from trainer.calibration import fit_temperature, margins
from trainer.card import model_card
from trainer.dataset import Message, read_file
from trainer.evaluation import evaluate, score, truth
from trainer.prepare import read_card
from trainer.recipe import Recipe
from trainer.splitting import SHARES
from trainer.training import Say, Trained, train
from trainer.vocabulary import learn

Parts = dict[str, list[Message]]


def make(recipe: Recipe, data: Path, output: Path | None, say: Say) -> tuple[Path, Artifact]:
    """Train, calibrate, measure and write; returns where the artifact stands, and itself.

    output: the artifact's folder; ``artifacts/<version>`` where None. Raises DataError for data
    that is not there or bad, ArtifactError where the output exists.
    """
    if output is not None:
        registry.check_free(output)
    parts = read_parts(data)
    tokenizer = learn((message.text for message in parts["train"]), recipe.vocab_size)
    say(f"vocabulary of {tokenizer.vocab_size:,} tokens, {len(parts['train']):,} messages to train")
    trained = train(recipe, tokenizer, (parts["train"], parts["validation"]), say)
    artifact = registry.draft(recipe, trained.config, tokenizer, trained.weights)
    artifact = _calibrated(artifact, parts["validation"])
    return _write(artifact, trained, parts, describe(data, parts), output)


def read_parts(folder: Path) -> Parts:
    """The three splits of a prepared folder. Raises DataError saying how to make it."""
    missing = [name for name in SHARES if not (folder / f"{name}.csv").is_file()]
    if missing:
        raise DataError(
            f"{folder} has no {missing[0]}.csv: make it with "
            f"trainer prepare --source sms-spam-collection --output {folder}"
        )
    return {name: read_file(folder / f"{name}.csv") for name in SHARES}


def describe(folder: Path, parts: Parts) -> dict[str, Any]:
    """What the manifest says of the data: its card in short, and a hash of the splits."""
    card = read_card(folder)
    splits = {
        name: {
            "rows": len(part),
            "sha256": hashlib.sha256((folder / f"{name}.csv").read_bytes()).hexdigest(),
        }
        for name, part in parts.items()
    }
    kept: dict[str, Any] = {key: card[key] for key in ("source", "method", "seed") if key in card}
    whole = hashlib.sha256(json.dumps(splits, sort_keys=True).encode()).hexdigest()
    return {**kept, "splits": splits, "sha256": whole}


def _calibrated(artifact: Artifact, validation: list[Message]) -> Artifact:
    log_odds = margins(score(artifact, validation))
    temperature = round(fit_temperature(log_odds, truth(validation)), 4)
    artifact = registry.changed(artifact, temperature=temperature)
    return registry.changed(artifact, version=registry.content_version(artifact))


def _write(
    artifact: Artifact,
    trained: Trained,
    parts: Parts,
    data: Mapping[str, Any],
    output: Path | None,
) -> tuple[Path, Artifact]:
    found = {name: evaluate(artifact, parts[name]) for name in ("validation", "test")}
    measures = {name: evaluation.measures for name, evaluation in found.items()}
    numbers = {key: v for name, m in measures.items() for key, v in m.named(name).items()}
    artifact = registry.changed(artifact, data=dict(data), metrics=numbers)
    pages = {f"report/{name}": page for name, page in report.files(trained, found).items()}
    pages["README.md"] = model_card(artifact.manifest, trained, data, measures).encode()
    target = output or Path("artifacts") / artifact.manifest.version
    registry.write(artifact, pages, target)
    return target, artifact
