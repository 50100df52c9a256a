"""What frozen blocks give is what the whole model computes, however it is batched and kept."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from filterd.model import ModelConfig, SpamModel
from filterd.packing import pack
from tests.trainer.runs import ALTERED, LLAMA, begun, tiny
from trainer import features
from trainer.dataset import Message
from trainer.distributed import ALONE
from trainer.features import compute
from trainer.fitting import Fitting
from trainer.make import labelled
from trainer.readers import StoredReader

SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_head": 2},
    "llama": {"n_head": 4, "n_kv_head": 2, "n_inner": 20, "family": "llama"},
}
TURN = [3, 0, 6, 1]


def model(family: str, layers: int = 3) -> SpamModel:
    config = ModelConfig(50, 40, layers, n_embd=16, **SHAPES[family])
    found = SpamModel(config, dropout=0.5).eval()
    found.initialise(torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.mul_(8) if parameter.ndim > 1 else parameter.add_(torch.rand_like(parameter))
    return found


def messages(count: int = 9) -> list[list[int]]:
    rng = random.Random(4)
    return [[rng.randrange(50) for _ in range(rng.randint(1, 30))] for _ in range(count)]


@pytest.mark.parametrize("family", SHAPES)
@pytest.mark.parametrize("stop", [0, 1, 2, 3])
@pytest.mark.parametrize("budget", [1, 40, 4096])
@torch.no_grad()
def test_a_packed_batch_has_the_models_own_hidden_states(
    tmp_path: Path, family: str, stop: int, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BUDGET_TOKENS", budget)
    whole, ids = model(family), messages()
    kept = compute(whole, stop, ids, tmp_path / "a.f32", ALONE)
    for indices in (TURN, list(range(len(ids))), [8], [5, 5, 2]):
        packed = pack([ids[index] for index in indices])
        hidden = whole.embed(packed)
        for block in whole.blocks[: min(stop, 2)]:
            hidden = block(hidden, packed)
        if stop == 3:
            hidden = whole.blocks[2](hidden, packed)[packed.last]
        found = kept.packed(packed, indices)
        assert found.shape == hidden.shape
        assert hidden.std() > 0.1  # else any two would be near
        assert torch.allclose(found, hidden, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", SHAPES)
@torch.no_grad()
def test_the_rest_of_the_model_goes_on_from_them(tmp_path: Path, family: str) -> None:
    whole, ids = model(family), messages()
    packed = pack([ids[index] for index in TURN])
    for stop in range(4):
        kept = compute(whole, stop, ids, tmp_path / f"{stop}.f32", ALONE)
        last = whole.through(kept.packed(packed, TURN), packed, stop, 3)
        assert torch.allclose(whole.classify(last), whole(packed), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", SHAPES)
def test_batches_side_by_side_give_what_they_give_alone(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BUDGET_TOKENS", 20)
    monkeypatch.setattr(features, "threads_to_use", lambda: 3)
    whole, ids = model(family), messages(17)
    budget = features.budget_on(whole)
    assert len(list(features.batches(ids, budget))) % 3 == 2  # the last are fewer
    alone = compute(whole, 2, ids, tmp_path / "alone.f32", ALONE)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        abreast = compute(whole, 2, ids, tmp_path / "abreast.f32", ALONE)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    packed = pack(ids)
    every = range(len(ids))
    assert torch.allclose(abreast.packed(packed, every), alone.packed(packed, every), atol=1e-5)


def stored(fitting: Fitting, messages: list[Message], *, plain: bool = False) -> StoredReader:
    reader = fitting.reader(labelled(messages), plain=plain)
    assert isinstance(reader, StoredReader)
    return reader


def store(folder: Path) -> dict[str, tuple[int, int, int]]:
    stats = {path.name: path.stat() for path in folder.iterdir()}
    return {name: (s.st_mtime_ns, s.st_ino, s.st_size) for name, s in stats.items()}


def test_the_store_is_used_again(
    tmp_path: Path, small: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(trainable=1, views=2, **ALTERED)
    first = stored(begun(recipe, small, tmp_path), small)
    kept = store(tmp_path)
    assert len(kept) == 2
    assert {name.rpartition(".")[2] for name in kept} == {"f32"}

    monkeypatch.setattr(features, "run", None)  # whoever computes again fails
    fitting = begun(recipe, small, tmp_path)
    again = stored(fitting, small)
    assert store(tmp_path) == kept
    built = fitting.start.build(recipe)
    for epoch in (0, 1):
        one, _ = first.batch(built, epoch, TURN)
        other, _ = again.batch(built, epoch, TURN)
        assert torch.equal(one, other)
    slower = begun(tiny(trainable=1, learning_rate=1e-4), small, tmp_path)
    stored(slower, small, plain=True)  # neither the rate nor the plain view asks for more
    assert store(tmp_path) == kept


def test_equal_messages_are_computed_once(tmp_path: Path, small: list[Message]) -> None:
    recipe = tiny(trainable=1, views=3, alteration=0.5)
    fitting = begun(recipe, small, tmp_path)
    reader, built = stored(fitting, [*small, *small]), fitting.start.build(recipe).eval()
    spans = {tuple(ids) for epoch in range(3) for ids in reader.view(epoch).ids}
    assert len(small) < len(spans) < 5 * len(small)
    size = sum(map(len, spans)) * recipe.n_embd * 4
    assert sum(size for _, _, size in store(tmp_path).values()) == size
    for epoch in range(3):
        hidden, packed = reader.batch(built, epoch, [3, 3 + len(small), 40])
        with torch.no_grad():
            own = built.through(built.embed(packed), packed, 0, 1)
        assert torch.allclose(hidden, own, atol=1e-6)


@pytest.mark.parametrize("change", [{"seed": 7}, {"trainable": "head"}, {"n_inner": 40}, LLAMA])
def test_other_weights_are_computed_anew(
    tmp_path: Path, small: list[Message], change: dict[str, Any]
) -> None:
    for fields in ({}, change):
        recipe = tiny(**{"trainable": 1, **fields})
        fitting = begun(recipe, small, tmp_path)
        reader, built = stored(fitting, small), fitting.start.build(recipe).eval()
        hidden, packed = reader.batch(built, 0, TURN)
        stop = 2 if recipe.trainable == "head" else 1
        with torch.no_grad():
            own = built.through(built.embed(packed), packed, 0, stop)
        assert torch.allclose(hidden, own, atol=1e-6)
    assert len(list(tmp_path.glob("*.f32"))) == 2


@pytest.mark.parametrize("left", [b"", b"\x00" * 999_999, b"half"])
def test_what_a_kill_left_is_not_believed(
    tmp_path: Path, small: list[Message], left: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(trainable=1)
    wanted = stored(begun(recipe, small, tmp_path / "other"), small)
    (name,) = store(tmp_path / "other")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        stored(begun(recipe, small, tmp_path / "own"), small)
    monkeypatch.undo()
    (aside,) = store(tmp_path / "own")
    assert aside.endswith(".part")
    (tmp_path / "own" / aside).write_bytes(left)
    (tmp_path / "own" / name.replace(".f32", ".part")).write_bytes(left)  # another process's

    fitting = begun(recipe, small, tmp_path / "own")
    found = stored(fitting, small)
    assert name in store(tmp_path / "own")
    built = fitting.start.build(recipe)
    assert torch.equal(found.batch(built, 0, TURN)[0], wanted.batch(built, 0, TURN)[0])


@pytest.mark.parametrize("trainable", [1, "head"])
def test_picked_examples_keep_their_features(
    tmp_path: Path, small: list[Message], trainable: int | str
) -> None:
    recipe = tiny(trainable=trainable, views=2, **ALTERED)
    fitting = begun(recipe, small, tmp_path)
    reader, built = stored(fitting, small), fitting.start.build(recipe)
    picked = reader.pick([50, 3, 119, 90, 7]).pick([4, 0, 2])  # 7, 50, 119
    for epoch in range(4):
        assert picked.view(epoch).ids == [reader.view(epoch).ids[at] for at in (7, 50, 119)]
        assert torch.equal(picked.view(epoch).targets, reader.view(epoch).targets[[7, 50, 119]])
        one, packed = picked.batch(built, epoch, [1, 2])
        other, same = reader.batch(built, epoch, [50, 119])
        assert torch.equal(one, other)
        assert torch.equal(packed.tokens, same.tokens)
    assert len(store(tmp_path)) == 2


def test_views_come_in_turn_the_plain_one_first(tmp_path: Path, small: list[Message]) -> None:
    recipe = tiny(trainable=1, views=3, max_length=60, **ALTERED)
    fitting = begun(recipe, small, tmp_path)
    reader = stored(fitting, small)
    plain = stored(fitting, small, plain=True)
    views = [reader.view(epoch).ids for epoch in range(6)]
    assert views[0] == plain.view(0).ids == plain.view(5).ids
    assert views[:3] == views[3:]
    assert views[0] != views[1] != views[2] != views[0]


def test_fresh_readers_pick_and_embed(tmp_path: Path, small: list[Message]) -> None:
    recipe = tiny()
    fitting = begun(recipe, small, tmp_path)
    reader, built = fitting.reader(labelled(small)), fitting.start.build(recipe)
    picked = reader.pick([50, 3, 119]).pick([2, 0])
    assert picked.view(9).ids == [reader.view(0).ids[119], reader.view(0).ids[50]]
    assert picked.view(0).targets.tolist() == [1.0, 0.0]
    hidden, packed = picked.batch(built, 0, [1, 0])
    assert torch.equal(hidden, built.embed(pack([picked.view(0).ids[1], picked.view(0).ids[0]])))
    assert torch.equal(packed.tokens, reader.batch(built, 0, [50, 119])[1].tokens)
    assert not list(tmp_path.glob("*.f32"))
