"""What training computes on: a GPU where there is one, to what the CPU comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from filterd.errors import SettingsError
from tests.trainer.runs import ALTERED, LLAMA, begun, ended, halves, tiny, toml, trainer
from trainer import make, registry
from trainer.course import Trained
from trainer.dataset import Message
from trainer.distributed import CPU, Workers, alone, pick_device
from trainer.fitting import Fitting

CUDA = torch.device("cuda", 0)
TF32 = 5e-3
"""How far losses of a few steps may lie apart where products have ten bits of mantissa."""

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_without_a_gpu_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == alone().device == CPU
    with pytest.raises(SettingsError, match=r"finds 0 CUDA devices.*--device cpu"):
        pick_device("cuda")


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    before = torch.get_float32_matmul_precision()
    try:
        assert pick_device("auto", 1) == torch.device("cuda", 1)
        assert pick_device("cpu", 1) == CPU
    finally:
        torch.set_float32_matmul_precision(before)
    assert taken == [1]
    with pytest.raises(SettingsError, match="process 3 of this machine finds 2 CUDA devices"):
        pick_device("auto", 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    recipe = str(toml(tmp_path / "tiny.toml"))
    code, said = ended(trainer(tmp_path, "train", "--recipe", recipe, "--device", "cuda"))
    assert code == 2
    assert said.count("\n") == 1
    assert "finds 0 CUDA devices" in said


def run_on(
    device: torch.device, small: list[Message], folder: Path, **fields: Any
) -> tuple[Fitting, Trained]:
    learned, validation = halves(small)
    fitting = begun(tiny(**fields), learned, folder, workers=Workers(device=device))
    return fitting, make.train(fitting, make.labelled(learned), validation)


KINDS: dict[str, dict[str, Any]] = {
    "fresh": ALTERED,
    "llama": {**LLAMA, **ALTERED},
    "stored": {"trainable": 1, "views": 2, **ALTERED},
    "head": {"trainable": "head"},
    "averaged": {"average": 0.7, "balance": 0.5, "label_smoothing": 0.1},
}


@needs_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_cuda_comes_to_the_same(tmp_path: Path, small: list[Message], kind: str) -> None:
    here = run_on(CPU, small, tmp_path / "here", **KINDS[kind])
    there = run_on(CUDA, small, tmp_path / "there", **KINDS[kind])
    losses = [np.array(trained.step_losses) for _, trained in (here, there)]
    assert np.abs(losses[0] - losses[1]).max() < TF32
    assert all(not weight.is_cuda for weight in there[1].weights.values())
    artifact = registry.draft(*there, 1.0, 0.5)
    assert all(not weight.is_cuda for weight in artifact.weights.values())
    plain = make.labelled(small)
    odds = [fitting.log_odds(t, fitting.reader(plain, plain=True)) for fitting, t in (here, there)]
    assert np.abs(odds[0] - odds[1]).max() < 20 * TF32


@needs_cuda
def test_cuda_goes_on_where_it_was(tmp_path: Path, small: list[Message]) -> None:
    fields = {"dropout": 0.3, "average": 0.7, **ALTERED}
    _, whole = run_on(CUDA, small, tmp_path / "whole", **fields)
    learned, validation = halves(small)

    def stop(line: str) -> None:
        if line.startswith("epoch 2/4"):
            raise KeyboardInterrupt

    texts, workers = [message.text for message in learned], Workers(device=CUDA)
    cut = make.begin(tiny(**fields), texts, tmp_path / "cut", workers, stop)
    with pytest.raises(KeyboardInterrupt):
        make.train(cut, make.labelled(learned), validation)
    _, again = run_on(CUDA, small, tmp_path / "cut", **fields)
    assert len(again.step_losses) == len(whole.step_losses)
    assert np.abs(np.array(again.step_losses) - np.array(whole.step_losses)).max() < TF32
