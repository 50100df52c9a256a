"""What a teacher says of texts, asked once: an interrupted distillation does not ask again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from filterd.artifact import Artifact
from trainer import durable
from trainer.calibration import Floats
from trainer.distributed import Workers
from trainer.evaluation import score_texts
from trainer.progress import progress

CHUNK = 1024
"""Texts between two writes of what is known."""


def opinions(teacher: Artifact, texts: Sequence[str], folder: Path, workers: Workers) -> Floats:
    """The teacher's scores of texts, (T,), kept in ``folder`` by the texts' checksums.

    One process of each machine asks, where it computes, the others wait and read.
    """
    path = folder / f"opinions-{teacher.manifest.version}{device_suffix(workers.device)}.json"
    if workers.local_rank == 0:
        _ask(teacher, texts, path, workers.device)
    workers.wait()
    known = _read(path)
    return np.array([known[key(text)] for text in texts])


def _ask(teacher: Artifact, texts: Sequence[str], path: Path, device: torch.device) -> None:
    known = _read(path)
    waiting = list({key(text): text for text in texts if key(text) not in known}.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    with progress("teacher", "text", total=len(waiting)) as bar:
        for start in range(0, len(waiting), CHUNK):
            chunk = waiting[start : start + CHUNK]
            said = score_texts(teacher, chunk, "cuda" if device.type == "cuda" else "cpu").tolist()
            _add(path, dict(zip(map(key, chunk), said, strict=True)))
            bar.update(len(chunk))
    if not path.exists():
        _add(path, {})


def _read(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    known: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return known


def _add(path: Path, said: dict[str, float]) -> None:
    """Put into the file what is not in it: another run may have asked that teacher meanwhile."""
    with durable.locked(path.with_suffix(".lock")):
        durable.write_whole(path, json.dumps(_read(path) | said).encode())


def device_suffix(device: torch.device) -> str:
    """Tells in a file's name what a GPU gives, in TF32, from what a CPU does."""
    return "" if device.type == "cpu" else f"-{device.type}"


def key(text: str) -> str:
    """A text's checksum, by which what a teacher makes of it is kept."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
