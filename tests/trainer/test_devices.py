"""What training computes on: a GPU where there is one, to what the CPU comes to."""

from __future__ import annotations

from collections.abc import Iterator
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

TF32 = 5e-3
"""How far losses of a few steps may lie apart where products have ten bits of mantissa."""

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def _exact_again() -> Iterator[None]:
    """The precision of products as it was before."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def gpu(_exact_again: None) -> Workers:
    """One process on the GPU, with products as training has them."""
    return alone("cuda")


def test_without_a_gpu_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == alone().device == CPU
    with pytest.raises(SettingsError, match=r"sees no CUDA device: give --device cpu"):
        pick_device("cuda")


@pytest.mark.usefixtures("_exact_again")
def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    torch.set_float32_matmul_precision("highest")
    assert pick_device("cpu", 1) == CPU
    assert torch.get_float32_matmul_precision() == "highest"
    assert pick_device("auto", 1) == torch.device("cuda", 1)
    assert torch.get_float32_matmul_precision() == "high"
    assert taken == [1]
    with pytest.raises(SettingsError, match=r"process 3 of this machine takes a GPU.*there are 2"):
        pick_device("auto", 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("command", ["train", "distill", "cascade", "evaluate"])
def test_a_gpu_that_is_not_there_is_one_line(tmp_path: Path, command: str) -> None:
    recipe = ("--recipe", str(toml(tmp_path / "tiny.toml")))
    given = {
        "train": recipe,
        "distill": (*recipe, "--teacher", "starter"),
        "cascade": ("starter", "starter"),
        "evaluate": ("starter", "--folds", "2", "--data", str(tmp_path)),
    }[command]
    code, said = ended(trainer(tmp_path, command, *given, "--device", "cuda"))
    assert code == 2
    assert said.count("\n") == 1
    assert "torch sees no CUDA device" in said


def test_a_run_is_told_from_one_on_another_device(tmp_path: Path, small: list[Message]) -> None:
    learned, _ = halves(small)
    meta = Workers(device=torch.device("meta"))
    here, there = (begun(tiny(), learned, tmp_path, workers=w) for w in (Workers(), meta))
    assert [fitting.start.device.type for fitting in (here, there)] == ["cpu", "meta"]
    keys = {f._key(f.reader(make.labelled(learned)), None) for f in (here, there)}
    assert len(keys) == 2


def run_on(
    workers: Workers, small: list[Message], folder: Path, **fields: Any
) -> tuple[Fitting, Trained]:
    learned, validation = halves(small)
    fitting = begun(tiny(**fields), learned, folder, workers=workers)
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
def test_cuda_comes_to_the_same(
    tmp_path: Path, small: list[Message], kind: str, gpu: Workers
) -> None:
    here = run_on(Workers(), small, tmp_path / "here", **KINDS[kind])
    there = run_on(gpu, small, tmp_path / "there", **KINDS[kind])
    losses = [np.array(trained.step_losses) for _, trained in (here, there)]
    assert np.abs(losses[0] - losses[1]).max() < TF32
    assert all(not weight.is_cuda for weight in there[1].weights.values())
    artifact = registry.draft(*there, 1.0, 0.5)
    assert all(not weight.is_cuda for weight in artifact.weights.values())
    plain = make.labelled(small)
    odds = [fitting.log_odds(t, fitting.reader(plain, plain=True)) for fitting, t in (here, there)]
    assert np.abs(odds[0] - odds[1]).max() < 20 * TF32


@needs_cuda
@pytest.mark.parametrize("order", ["length", "shuffled"])
def test_cuda_goes_on_where_it_was(
    tmp_path: Path, small: list[Message], order: str, gpu: Workers
) -> None:
    fields = {"dropout": 0.3, "average": 0.7, "order": order, **ALTERED}
    _, whole = run_on(gpu, small, tmp_path / "whole", **fields)
    learned, validation = halves(small)

    def stop(line: str) -> None:
        if line.startswith("epoch 2/4"):
            raise KeyboardInterrupt

    texts = [message.text for message in learned]
    cut = make.begin(tiny(**fields), texts, tmp_path / "cut", gpu, stop)
    with pytest.raises(KeyboardInterrupt):
        make.train(cut, make.labelled(learned), validation)
    _, again = run_on(gpu, small, tmp_path / "cut", **fields)
    assert len(again.step_losses) == len(whole.step_losses)
    assert np.abs(np.array(again.step_losses) - np.array(whole.step_losses)).max() < TF32
