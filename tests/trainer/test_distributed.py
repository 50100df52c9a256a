"""Several processes take the same steps as one, and one artifact comes of them."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from filterd import artifact as artifacts
from tests.trainer.runs import ended, prepared, toml, trainer
from trainer.dataset import Message
from trainer.distributed import Workers, join

KINDS: dict[str, dict[str, Any]] = {
    "fresh": {"trainable": "all", "balance": 0.5, "joining": 0.2, "alteration": 0.5},
    "stored": {"trainable": 1, "views": 2, "joining": 0.2, "order": "shuffled"},
}
RUN = {"epochs": 2, "batch_size": 7, "average": 0.5, "folds": 2, "threshold": 0.5}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def test_parts_are_the_batch() -> None:
    batch = [4, 8, 15, 16, 23]
    for size in (1, 2, 3, 7):
        parts = [Workers(rank, size).share(batch) for rank in range(size)]
        assert sorted(index for part in parts for index in part) == batch
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert [Workers(rank, 2).leads for rank in (0, 1)] == [True, False]


def test_alone_there_is_nothing_to_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    with join("cpu") as workers:
        assert workers == Workers()
        tensor = torch.ones(2)
        workers.add([tensor])
        workers.wait()
        assert tensor.tolist() == [1, 1]
        assert workers.agree([3]) == [3]


def artifact(folder: Path) -> artifacts.Artifact:
    """The only one that was written there."""
    (path,) = [p for p in (folder / "artifacts").iterdir() if p.name != ".work"]
    return artifacts.load(path)


def felt(name: str, weight: torch.Tensor) -> torch.Tensor:
    """A weight without the bias of keys: it moves no attention, so Adam drives it by rounding."""
    if not name.endswith("c_attn.bias"):
        return weight
    query, _, values = weight.chunk(3)
    return torch.cat((query, values))


def check_same(one: Path, other: Path) -> None:
    """Losses of all steps, and the weights as artifacts keep them, in half precision."""
    first, second = artifact(one), artifact(other)
    for name, weight in first.weights.items():
        assert torch.allclose(weight.float(), second.weights[name].float(), atol=1e-3), name
    checkpoints = [sorted((f / "artifacts" / ".work").glob("*.pt")) for f in (one, other)]
    assert [path.name for path in checkpoints[0]] == [path.name for path in checkpoints[1]]
    assert len(checkpoints[0]) == 3  # the run and two folds
    for paths in zip(*checkpoints, strict=True):
        states = [torch.load(path, weights_only=True) for path in paths]
        losses = [state["course"]["step_losses"] for state in states]
        assert len(losses[0]) >= 12
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)
        for name, weight in states[0]["average"].items():
            other = states[1]["average"][name]
            assert torch.allclose(felt(name, weight), felt(name, other), atol=1e-5), name


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_do_as_one(tmp_path: Path, small: list[Message], kind: str) -> None:
    data = prepared(tmp_path / "data", small)
    recipe = toml(tmp_path / "tiny.toml", **RUN, **KINDS[kind])
    command = ("train", "--recipe", str(recipe), "--data", str(data))
    alone = trainer(tmp_path / "one", *command)
    both = trainer(tmp_path / "two", *command, launcher=TORCHRUN)
    code, written = ended(both)
    assert code == 0, written
    assert ended(alone)[0] == 0
    assert written.count("wrote artifacts/tiny-") == 1
    assert written.count("epoch 1/2 ") == 3
    check_same(tmp_path / "one", tmp_path / "two")
    assert not list((tmp_path / "two" / "artifacts" / ".work").glob("*.part"))
    if kind == "stored":
        check_two_machines(tmp_path, command)


def check_two_machines(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Each with a disk of its own: what the first finds on its own, the other cannot."""
    for path in (tmp_path / "one" / "artifacts").glob("tiny-*"):
        path.rename(tmp_path / "first")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
    }
    machines = [
        trainer(tmp_path / name, *command, RANK=str(rank), **shared)
        for rank, name in enumerate(("one", "empty"))
    ]
    for machine in machines:
        code, written = ended(machine)
        assert code == 0, written
    assert artifact(tmp_path / "one").manifest.version == version(tmp_path / "first")
    assert {p.name for p in (tmp_path / "empty" / "artifacts").iterdir()} == {".work"}


def version(path: Path) -> str:
    found = json.loads((path / artifacts.MANIFEST).read_text(encoding="utf-8"))["version"]
    return str(found)
