"""An interrupted run that is started again ends as if nothing had happened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from filterd import artifact as artifacts
from tests.trainer.runs import (
    ALTERED,
    begun,
    ended,
    halves,
    prepared,
    same,
    tiny,
    toml,
    trained,
    trainer,
)
from trainer import make
from trainer.checkpoint import Checkpoint
from trainer.course import Trained
from trainer.dataset import Message
from trainer.recipe import Recipe

READERS: dict[str, dict[str, Any]] = {
    "fresh": {"trainable": "all"},
    "stored": {"trainable": 1, "views": 3},
    "shuffled": {"trainable": "all", "order": "shuffled", "evaluate_every": 3},
}
EVERYTHING = {"dropout": 0.3, "average": 0.7, "keep": "best", **ALTERED}


def interrupted(
    recipe: Recipe, small: list[Message], folder: Path, at: str, said: list[str]
) -> None:
    """A run that is stopped when it says this."""

    def stop(line: str) -> None:
        said.append(line)
        if line.startswith(at):
            raise KeyboardInterrupt

    learned, validation = halves(small)
    texts = [message.text for message in learned]
    fitting = make.begin(recipe, texts, folder, begun(recipe, learned, folder).workers, stop)
    with pytest.raises(KeyboardInterrupt):
        make.train(fitting, make.labelled(learned), validation)


def equal(one: Trained, other: Trained) -> bool:
    """Everything that comes of a run, bit for bit."""
    course = (one.history, one.best, one.looks, one.step_losses)
    return course == (other.history, other.best, other.looks, other.step_losses) and same(
        one.weights, other.weights
    )


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("at", ["epoch 1/4", "epoch 3/4"])
def test_goes_on_where_it_was(tmp_path: Path, small: list[Message], kind: str, at: str) -> None:
    recipe = tiny(**EVERYTHING, **READERS[kind])
    whole = trained(recipe, small, tmp_path / "whole")[1]
    said: list[str] = []
    interrupted(recipe, small, tmp_path / "cut", at, said)
    torch.rand(7)  # the rest of the process goes on too
    again = trained(recipe, small, tmp_path / "cut", said)[1]
    assert equal(again, whole)
    numbers = [int(line[6]) for line in said if line.startswith("epoch ")]
    if at == "epoch 3/4":
        assert "going on after epoch 2, where an earlier run was interrupted" in said
        assert numbers == [1, 2, 3, 3, 4]
    else:
        assert numbers == [1, 1, 2, 3, 4]


def test_goes_on_twice_also_from_within_an_epoch(tmp_path: Path, small: list[Message]) -> None:
    recipe = tiny(**EVERYTHING, **READERS["shuffled"])
    whole = trained(recipe, small, tmp_path / "whole")[1]
    said: list[str] = []
    for at in ("step 13 ", "step 34 "):
        interrupted(recipe, small, tmp_path / "cut", at, said)
    assert equal(trained(recipe, small, tmp_path / "cut", said)[1], whole)
    goings = [line for line in said if line.startswith("going on")]
    assert [line[:22] for line in goings] == ["going on after epoch 1", "going on after epoch 3"]


@pytest.mark.parametrize("kind", READERS)
def test_a_finished_run_is_not_run_again(tmp_path: Path, small: list[Message], kind: str) -> None:
    recipe = tiny(**EVERYTHING, **READERS[kind])
    first = trained(recipe, small, tmp_path)[1]
    said: list[str] = []
    assert equal(trained(recipe, small, tmp_path, said)[1], first)
    assert not [line for line in said if line.startswith(("epoch", "going"))]


def relabelled(small: list[Message], place: int) -> list[Message]:
    changed = list(small)
    other = "ham" if small[place].label == "spam" else "spam"
    changed[place] = Message(small[place].text, "ham" if other == "ham" else "spam", place + 1)
    return changed


def reworded(small: list[Message], place: int) -> list[Message]:
    changed = list(small)
    changed[place] = Message("ok then", small[place].label, small[place].row)
    return changed


def changes(small: list[Message]) -> dict[str, tuple[dict[str, Any], list[Message]]]:
    """Another recipe, or other data: message 0 is learned, message 2 validates."""
    return {
        "seed": ({"seed": 5}, small),
        "rate": ({"learning_rate": 4e-3}, small),
        "epochs": ({"epochs": 3}, small),
        "a label": ({}, relabelled(small, 0)),
        "a text": ({}, reworded(small, 0)),
        "order": ({}, [small[1], small[0], *small[2:]]),
        "validation's label": ({}, relabelled(small, 2)),
        "validation's text": ({}, reworded(small, 2)),
    }


@pytest.mark.parametrize("kind", ["fresh", "stored"])
def test_a_checkpoint_of_another_run_is_not_used(
    tmp_path: Path, small: list[Message], kind: str
) -> None:
    fields = {**READERS[kind], "epochs": 2, "vocab_size": 257}
    first = trained(tiny(**fields), small, tmp_path / "shared")[1]
    for name, (change, messages) in changes(small).items():
        recipe = tiny(**{**fields, **change})
        said: list[str] = []
        found = trained(recipe, messages, tmp_path / "shared", said)[1]
        assert equal(found, trained(recipe, messages, tmp_path / name)[1]), name
        assert not equal(found, first), name
        assert sum(line.startswith("epoch ") for line in said) == recipe.epochs, name
    assert equal(trained(tiny(**fields), small, tmp_path / "shared")[1], first)


def test_a_checkpoint_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoint(tmp_path / "deep" / "run.pt")
    assert kept.load() is None
    kept.save({"step": 1, "weight": torch.ones(2)})

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        kept.save({"step": 2, "weight": torch.zeros(2)})
    state = kept.load()
    assert state is not None
    assert (state["step"], state["weight"].tolist()) == (1, [1.0, 1.0])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["fresh", "stored"])
def test_killed_and_given_again(tmp_path: Path, small: list[Message], kind: str) -> None:
    """A real kill -9; the artifact is that of a run that nobody disturbed."""
    data = prepared(tmp_path / "data", small)
    fields = {**EVERYTHING, **READERS[kind], "epochs": 30}
    recipe = toml(tmp_path / "tiny.toml", **fields)
    command = ("train", "--recipe", str(recipe), "--data", str(data))
    killed = trainer(tmp_path / "killed", *command)
    assert killed.stdout is not None
    for line in killed.stdout:
        if line.startswith("epoch 5/30"):
            killed.kill()
            break
    else:
        pytest.fail("it ended without an epoch 5")
    ended(killed)
    assert not list((tmp_path / "killed" / "artifacts").glob("tiny-*"))

    runs = [trainer(tmp_path / name, *command) for name in ("killed", "whole")]
    (code, written), (other_code, other) = map(ended, runs)
    assert (code, other_code) == (0, 0), written + other
    going = re.search(r"^going on after epoch (\d+), where", written, re.MULTILINE)
    assert going
    assert int(going[1]) >= 4
    assert "going on" not in other
    found = [version(tmp_path / name) for name in ("killed", "whole")]
    assert found[0] == found[1]


def version(folder: Path) -> str:
    (path,) = (folder / "artifacts").glob("tiny-*")
    return artifacts.load(path).manifest.version
