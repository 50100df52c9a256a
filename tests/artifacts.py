"""Small artifacts for tests: random weights, and a vocabulary of single bytes."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save

from filterd.artifact import FAST, MANIFEST, VOCABULARY, WEIGHTS, sha256
from filterd.model import ModelConfig, SpamModel
from filterd.tokenizer import Tokenizer

CONFIG = ModelConfig(vocab_size=257, n_positions=32, n_layer=2, n_head=2, n_embd=16)


def tiny_artifact(
    path: Path, *, version: str = "tiny-1", seed: int = 0, config: ModelConfig = CONFIG
) -> Path:
    """Write an artifact whose scores are arbitrary, and the same for the same seed."""
    path.mkdir(parents=True)
    model = SpamModel(config)
    model.initialise(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        model.head.weight.mul_(50)  # scores that differ, instead of all near a half
    tokenizer = Tokenizer({bytes([byte]): byte for byte in range(256)})
    contents = {WEIGHTS: save(model.state_dict()), VOCABULARY: tokenizer.to_bytes()}
    for name, data in contents.items():
        (path / name).write_bytes(data)
    manifest = {
        "format": 1,
        "version": version,
        "created_at": "2026-01-01T00:00:00Z",
        "backbone": "tiny",
        "model": asdict(config),
        "max_length": config.n_positions,
        "files": {name: sha256(data) for name, data in contents.items()},
    }
    (path / MANIFEST).write_text(json.dumps(manifest))
    return path


def tiny_cascade(path: Path, fast: Path, large: Path, band: tuple[float, float]) -> Path:
    """Write a cascade of two artifacts."""
    shutil.copytree(large, path)
    shutil.copytree(fast, path / FAST)
    inner = (path / FAST / MANIFEST).read_bytes()
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["version"] = "cascade-1"
    manifest["files"][f"{FAST}/{MANIFEST}"] = sha256(inner)
    low, high = band
    manifest["cascade"] = {"fast": json.loads(inner)["version"], "low": low, "high": high}
    (path / MANIFEST).write_text(json.dumps(manifest))
    return path
