"""The registry: writes an artifact, which appears whole or not at all and is never changed."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_safetensors

from filterd import canaries
from filterd.artifact import MANIFEST, VOCABULARY, WEIGHTS, Artifact, Manifest, sha256
from filterd.engine import Engine
from filterd.errors import ArtifactError
from trainer import durable
from trainer.backbone import Start
from trainer.course import Trained
from trainer.fitting import Fitting

WORK = ".work"
"""Beside the artifacts: features and checkpoints, for an interrupted run and the next one."""

LIBRARIES = (
    "confusable-homoglyphs",
    "filterd",
    "numpy",
    "safetensors",
    "tiktoken",
    "tokenizers",
    "torch",
)


def draft(fitting: Fitting, trained: Trained, temperature: float, threshold: float) -> Artifact:
    """An artifact in memory, in the half precision it is stored in, with its version."""
    recipe, start = fitting.recipe, fitting.start
    weights = start.served(fitting.model(trained))
    halves = {name: tensor.to(torch.float16).contiguous() for name, tensor in weights.items()}
    manifest = Manifest(
        version="draft",
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        backbone=describe(start),
        model=start.config,
        pattern=start.tokenizer.pattern,
        normalization=recipe.normalization,
        pooling=recipe.pooling,
        max_length=fitting.length,
        threshold=threshold,
        temperature=temperature,
        files={},
        recipe=recipe.model_dump(),
        origin=start.origin,
        libraries={name: version(name) for name in LIBRARIES},
    )
    artifact = Artifact(Path("draft"), manifest, start.tokenizer, halves)
    return changed(artifact, version=content_version(artifact))


def describe(start: Start) -> str:
    """A backbone in a line: ``llama, 30 blocks of width 576, SmolLM2-135M-Instruct``."""
    shape = f"{start.config.family}, {start.config.n_layer} blocks of width {start.config.n_embd}"
    if not start.origin:
        return f"{shape}, from random weights"
    return f"{shape}, {'' if start.weights else 'token embedding of '}{start.origin['name']}"


def changed(artifact: Artifact, **fields: Any) -> Artifact:
    """The same artifact with other fields in its manifest."""
    manifest = artifact.manifest.model_copy(update=fields)
    return Artifact(artifact.path, manifest, artifact.tokenizer, artifact.weights)


def contents(artifact: Artifact) -> dict[str, bytes]:
    """The files that decide every score, by name."""
    return {
        WEIGHTS: save_safetensors(dict(sorted(artifact.weights.items()))),
        VOCABULARY: artifact.tokenizer.to_bytes(),
    }


def content_version(artifact: Artifact) -> str:
    """``<recipe>-<12 hex digits>`` of all that decides a verdict: equal content, equal version."""
    manifest = artifact.manifest
    settings = (
        f"{manifest.threshold!r} {manifest.temperature!r} {manifest.max_length} "
        f"{manifest.pooling} {manifest.normalization} {manifest.pattern}"
    )
    digest = hashlib.sha256(settings.encode())
    for name, data in sorted(contents(artifact).items()):
        digest.update(f"\n{name} {sha256(data)}".encode())
    return f"{manifest.recipe['name']}-{digest.hexdigest()[:12]}"


def check_free(target: Path) -> None:
    """Raises ArtifactError where something stands in an artifact's place."""
    if os.path.lexists(target):
        raise ArtifactError(f"{target} exists, and artifacts are never changed: choose another")


def write(artifact: Artifact, extra: Mapping[str, bytes], target: Path) -> None:
    """Write an artifact with its card and report: aside, fsynced, then renamed into place.

    extra: more files by their names inside. Raises ArtifactError where the target exists.
    """
    check_free(target)
    files = {**contents(artifact), **extra}
    checksums = {name: sha256(data) for name, data in sorted(files.items())}
    known = canaries.scores(Engine(artifact, device="cpu", precision="fp32"))
    final = artifact.manifest.model_copy(update={"files": checksums, "canaries": known})
    files[MANIFEST] = (final.model_dump_json(indent=2) + "\n").encode()
    place(files, target)


def place(files: Mapping[str, bytes], target: Path) -> None:
    """Make a folder of files appear whole. Raises ArtifactError where the target exists."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        durable.fill(aside, files)
        check_free(target)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    durable.sync(target.parent)
