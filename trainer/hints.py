"""Hints: what a larger model makes of a text, for a smaller one to come near to.

A label says of a text only on which side it is, and so does a teacher's score. What the middle of a
teacher makes of it, or a model of sentences, says what it is about, so a model that is to foretell
that, too, learns what words mean that no label depends on (FitNets, Romero et al., 2015; of
sentences, Reimers & Gurevych, 2020).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from filterd.artifact import Artifact
from filterd.precision import build
from trainer import durable, encoding, features
from trainer.distributed import Workers
from trainer.encoding import Encoder
from trainer.opinions import device_suffix, key
from trainer.progress import progress
from trainer.recipe import of_artifact
from trainer.sentences import Done, Sentences

KEPT = np.float16
Means = NDArray[np.float16]
"""Of one text, (W,)."""

CHUNK = 4096
"""Texts between two writes of what is known, a minute or two of two cores."""
AXES = 96
"""Channels of a hint: the principal axes of the texts' means."""
ABOVE = 2
"""The teacher's last blocks are passed over: what they give is all about the label."""
FARTHEST = 5.0
"""Standard deviations: a few channels of a language model are far larger than all others."""


def of_teacher(teacher: Artifact, texts: Sequence[str], folder: Path, workers: Workers) -> Tensor:
    """What the teacher's middle makes of each text, (T, AXES) or as wide as that, of variance 1."""

    def means(chunk: Sequence[str], done: Done) -> Tensor:
        return _middle(teacher, chunk, workers.device, done)

    return _kept(teacher.manifest.version, means, texts, folder, workers)


def of_sentences(model: Sentences, texts: Sequence[str], folder: Path, workers: Workers) -> Tensor:
    """What a model of sentences makes of each text, (T, AXES) or as wide as that, of variance 1."""

    def means(chunk: Sequence[str], done: Done) -> Tensor:
        return model.means(chunk, workers.device, done)

    return _kept(model.key, means, texts, folder, workers)


def _kept(
    name: str,
    means: Callable[[Sequence[str], Done], Tensor],
    texts: Sequence[str],
    folder: Path,
    workers: Workers,
) -> Tensor:
    """Along the principal axes, from means that are kept in ``folder`` by the texts' checksums.

    With more texts only those are computed. One process of each machine computes, the others wait
    and read.
    """
    path = folder / f"hints-{name}{device_suffix(workers.device)}.npz"
    if workers.local_rank == 0:
        known = _read(path)
        waiting = list({key(text): text for text in texts if key(text) not in known}.values())
        with progress("hints", "text", total=len(waiting), disable=not waiting) as bar:
            for start in range(0, len(waiting), CHUNK):
                chunk = waiting[start : start + CHUNK]
                found = means(chunk, bar.update).numpy().astype(KEPT)
                _add(path, dict(zip(map(key, chunk), found, strict=True)))
    workers.wait()
    known = _read(path)
    rows = np.stack([known[key(text)] for text in texts]).astype(np.float32)
    return principal(torch.from_numpy(rows))


def _read(path: Path) -> dict[str, Means]:
    if not path.is_file():
        return {}
    with np.load(path) as kept:
        return dict(zip(kept["texts"].tolist(), kept["means"], strict=True))


def _add(path: Path, means: dict[str, Means]) -> None:
    """Put into the file what is not in it: another run may have asked that teacher meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with durable.locked(path.with_suffix(".lock")):
        known = _read(path) | means
        content = io.BytesIO()
        np.savez(content, texts=np.array(list(known)), means=np.stack(list(known.values())))
        durable.write_whole(path, content.getbuffer())


def principal(means: Tensor) -> Tensor:
    """Rows (T, W), every channel scaled alike, along their AXES principal axes."""
    scaled = (means - means.mean(0)) / means.std(0).clamp_min(1e-6)
    scaled = scaled.clamp(-FARTHEST, FARTHEST)
    _, axes = torch.linalg.eigh(scaled.T @ scaled)  # ascending
    found: Tensor = scaled @ axes[:, -AXES:]
    scale: Tensor = found.std()
    return found / scale


def _middle(teacher: Artifact, texts: Sequence[str], device: torch.device, done: Done) -> Tensor:
    """The mean hidden state over each text's tokens, (T, W)."""
    manifest = teacher.manifest
    model = build(teacher, device, "fp32")
    stop = max(1, manifest.model.n_layer - ABOVE)
    encoder = Encoder(of_artifact(manifest), teacher.tokenizer, manifest.max_length)
    ids = encoder.plain(encoding.of(texts, [0.0] * len(texts))).ids
    found = torch.empty(len(ids), manifest.model.n_embd)
    todo = list(features.batches(ids, features.budget_on(model)))
    for batch, parts in features.side_by_side(model, stop, ids, todo):
        found[batch] = torch.stack([part.mean(0) for part in parts])
        done(len(batch))
    return found
