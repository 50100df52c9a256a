"""Small training runs for tests: recipes that take seconds, prepared folders, and what was read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from filterd.tokenizer import Tokenizer
from trainer import make
from trainer.course import Trained
from trainer.dataset import Message, to_csv
from trainer.distributed import ALONE, Workers
from trainer.encoding import View
from trainer.fitting import Fitting
from trainer.recipe import Recipe

ROOT = Path(__file__).parents[2]
TINY = {
    "name": "tiny",
    "vocab_size": 320,
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 16,
    "max_length": 24,
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 5e-3,
    "folds": 0,
    "threshold": 0.5,
}
LLAMA = {"family": "llama", "n_kv_head": 1, "n_inner": 24}
ALTERED = {"alteration": 0.5, "joining": 0.3, "cut_words": 0.05}


def tiny(**fields: Any) -> Recipe:
    """A recipe of two blocks that learns from random weights."""
    return Recipe.model_validate({**TINY, **fields})


def toml(path: Path, **fields: Any) -> Path:
    """The same in a file."""
    values = {**TINY, **fields}
    lines = (f"{name} = {_toml(value)}" for name, value in values.items() if value is not None)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def begun(
    recipe: Recipe,
    messages: Sequence[Message],
    folder: Path,
    said: list[str] | None = None,
    workers: Workers = ALONE,
) -> Fitting:
    """A fitting over messages whose features and checkpoints go to a folder."""
    texts = [message.text for message in messages]
    return make.begin(recipe, texts, folder, workers, ([] if said is None else said).append)


def halves(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """Two thirds to learn from, and the rest."""
    learned = [message for message in messages if message.row % 3]
    return learned, [message for message in messages if not message.row % 3]


def trained(
    recipe: Recipe, messages: Sequence[Message], folder: Path, said: list[str] | None = None
) -> tuple[Fitting, Trained]:
    """One run, and what it was of."""
    learned, validation = halves(messages)
    fitting = begun(recipe, learned, folder, said)
    return fitting, make.train(fitting, make.labelled(learned), validation)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two sets of weights are bit-identical."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def decoded(tokenizer: Tokenizer, view: View) -> list[str]:
    """The texts that a view was encoded from, as far as its windows hold them."""
    token_of = {rank: token for token, rank in tokenizer.ranks.items()}
    closing = tokenizer.end_of_text
    return [
        b"".join(token_of[token] for token in span if token != closing).decode(errors="replace")
        for span in view.ids
    ]


def prepared(folder: Path, messages: Sequence[Message]) -> Path:
    """A prepared folder: three fifths to learn from, a fifth each to validate and to test."""
    folder.mkdir(parents=True)
    parts: dict[str, list[Message]] = {"train": [], "validation": [], "test": []}
    for message in messages:
        names = ("train", "train", "train", "validation", "test")
        parts[names[message.row % 5]].append(message)
    for name, part in parts.items():
        (folder / f"{name}.csv").write_bytes(to_csv(part))
    return folder


def environment(**more: str) -> dict[str, str]:
    """For commands started in another folder: one thread, no GPU, and the modules of this one."""
    quiet = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **quiet, "TRAINER_DEVICE": "cpu", **more}


def trainer(
    folder: Path, *arguments: str, launcher: Sequence[str] = (), **more: str
) -> subprocess.Popen[str]:
    """Start a command of the trainer in a folder of its own."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "trainer", *arguments],
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and all it wrote."""
    written, _ = process.communicate(timeout=500)
    return process.returncode, written
