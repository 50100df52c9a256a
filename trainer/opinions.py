"""What a teacher says of texts, asked once: an interrupted distillation does not ask again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from filterd.artifact import Artifact
from trainer.calibration import Floats
from trainer.distributed import Workers
from trainer.evaluation import score_texts
from trainer.progress import progress

CHUNK = 1024
"""Texts between two writes of what is known."""


def opinions(teacher: Artifact, texts: Sequence[str], folder: Path, workers: Workers) -> Floats:
    """The teacher's scores of texts, (T,), kept in ``folder`` by the texts' checksums.

    One process of each machine asks, the others wait and read.
    """
    path = folder / f"opinions-{teacher.manifest.version}.json"
    if workers.local_rank == 0:
        _ask(teacher, texts, path)
    workers.wait()
    known = _read(path)
    return np.array([known[key(text)] for text in texts])


def _ask(teacher: Artifact, texts: Sequence[str], path: Path) -> None:
    known = _read(path)
    waiting = list({key(text): text for text in texts if key(text) not in known}.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    with progress("teacher", "text", total=len(waiting)) as bar:
        for start in range(0, len(waiting), CHUNK):
            chunk = waiting[start : start + CHUNK]
            known |= zip(map(key, chunk), score_texts(teacher, chunk).tolist(), strict=True)
            _write(path, known)
            bar.update(len(chunk))
    if not path.exists():
        _write(path, known)


def _read(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    known: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    return known


def _write(path: Path, known: dict[str, float]) -> None:
    aside = path.with_suffix(f".{os.getpid()}.part")
    aside.write_text(json.dumps(known), encoding="utf-8")
    aside.replace(path)


def key(text: str) -> str:
    """A text's checksum, by which what a teacher makes of it is kept."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
