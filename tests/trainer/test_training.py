"""Training learns, changes what it may and nothing else, and keeps what it says it keeps."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2Model

from filterd.errors import SettingsError
from filterd.packing import pack
from tests.checkpoints import learned as learned_vocabulary
from tests.checkpoints import random_gpt2, random_llama
from tests.trainer.runs import ALTERED, LLAMA, begun, halves, same, tiny, trained
from trainer import calibration, make, training
from trainer.course import Trained
from trainer.dataset import Message
from trainer.fitting import Fitting
from trainer.recipe import Recipe

VOCABULARY = Path(__file__).parents[3] / "shared" / "data" / "gpt2_vocab"
PRETRAINED = {
    "vocab_size": 0,
    "n_layer": 0,
    "n_head": 0,
    "n_embd": 0,
    "normalization": "confusables",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny checkpoints as transformers writes them."""
    found = {}
    for name, model in (("gpt2", random_gpt2()), ("llama", random_llama())):
        found[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(found[name])
        tokenizer = learned_vocabulary(digits=name == "llama")
        if name == "gpt2":
            tokenizer.model.save(str(found[name]))
        else:
            tokenizer.save(str(found[name] / "tokenizer.json"))
    return found


@pytest.mark.parametrize("family", [{}, LLAMA], ids=["gpt2", "llama"])
@pytest.mark.parametrize("trainable", ["all", 1, "head"])
def test_learns_from_random_weights(
    tmp_path: Path, small: list[Message], family: dict[str, Any], trainable: str | int
) -> None:
    rate = {"all": 5e-3, 1: 2e-2, "head": 0.3}[trainable]
    recipe = tiny(trainable=trainable, learning_rate=rate, epochs=6, **family)
    check_learning(*trained(recipe, small, tmp_path), small)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("trainable", ["all", 1, "head"])
def test_learns_from_a_checkpoint(
    tmp_path: Path,
    small: list[Message],
    folders: dict[str, Path],
    family: str,
    trainable: str | int,
) -> None:
    rate = {"all": 2e-3, 1: 5e-3, "head": 0.1}[trainable]
    fields = {**PRETRAINED, "backbone": str(folders[family]), "learning_rate": rate}
    fitting, run = trained(tiny(trainable=trainable, epochs=6, **fields), small, tmp_path)
    assert fitting.start.config.family == family
    check_learning(fitting, run, small)


def check_learning(fitting: Fitting, run: Trained, small: list[Message]) -> None:
    """It tells spam from ham, and nothing frozen has moved; a head on random blocks learns less."""
    first, *_, last = run.history
    assert last.train_loss < 0.6 * first.train_loss
    assert [epoch.number for epoch in run.history] == list(range(1, fitting.recipe.epochs + 1))
    validation = make.labelled(halves(small)[1])
    log_odds = fitting.log_odds(run, fitting.reader(validation, plain=True))
    spam = validation.targets.numpy()
    right = ((log_odds >= 0) == (spam > 0)).mean()
    assert right >= 0.95 or fitting.recipe.trainable != "all"

    before = fitting.start.build(fitting.recipe).state_dict()
    after = fitting.model(run).state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved == set(run.weights) == expected_to_move(before, fitting.recipe)


def expected_to_move(names: dict[str, Tensor], recipe: Recipe) -> set[str]:
    if recipe.trainable == "all":
        return set(names)
    starts = ("head.",) if recipe.trainable == "head" else ("head.", "ln_f.", "norm.", "h.1.")
    starts += () if recipe.trainable == "head" else ("layers.1.",)
    return {name for name in names if name.startswith(starts)}


def test_with_the_vocabulary_of_gpt2(tmp_path: Path, small: list[Message]) -> None:
    if not VOCABULARY.is_dir():
        pytest.skip("the GPT-2 vocabulary is not at ../shared/data/gpt2_vocab")
    torch.manual_seed(3)
    config = GPT2Config(vocab_size=50257, n_positions=32, n_embd=16, n_layer=3, n_head=2)
    folder = tmp_path / "backbone"
    GPT2Model(config).save_pretrained(folder)
    for path in VOCABULARY.iterdir():
        shutil.copy(path, folder)
    fields = {**PRETRAINED, "backbone": str(folder), "n_layer": 2, "vocab_size": 600}
    recipe = tiny(trainable=1, learning_rate=3e-2, **fields)
    fitting, run = trained(recipe, small, tmp_path / "work")
    assert fitting.start.config.n_layer == 2
    assert 500 < fitting.start.config.vocab_size <= 600
    assert run.history[-1].validation_accuracy >= 0.9
    assert {name.split(".")[1] for name in run.weights if name.startswith("h.")} == {"1"}


def test_frozen_weights_stay_where_the_run_holds_them(tmp_path: Path, small: list[Message]) -> None:
    """Bit for bit, in the very model that is trained, with decay and dropout on."""
    recipe = tiny(trainable=1, weight_decay=0.5, decay_all=True, dropout=0.3, average=0.9)
    fitting = begun(recipe, small, tmp_path)
    reader = fitting.reader(make.labelled(small))
    run = training._Run(recipe, fitting.start, (reader, reader), fitting.workers, None)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    found = run.fit(lambda _: None)
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, before[name]) == (name not in found.weights), name


def weights_of(folder: Path, small: list[Message], **fields: Any) -> dict[str, Tensor]:
    return trained(tiny(epochs=1, **fields), small, folder)[1].weights


def test_a_clip_of_0_is_off(tmp_path: Path, small: list[Message]) -> None:
    off = weights_of(tmp_path, small, gradient_clip=0)
    assert same(off, weights_of(tmp_path, small, gradient_clip=1e9))
    assert not same(off, weights_of(tmp_path, small, gradient_clip=1e-6))


def test_an_embedding_rate_of_0_freezes_it(tmp_path: Path, small: list[Message]) -> None:
    fitting, frozen = trained(tiny(embedding_rate=0, epochs=1), small, tmp_path)
    begins = fitting.start.build(fitting.recipe).state_dict()
    assert set(begins) - set(frozen.weights) == {"wte.weight"}
    assert torch.equal(fitting.model(frozen).state_dict()["wte.weight"], begins["wte.weight"])
    start = begins["wte.weight"]
    far = [
        float((weights_of(tmp_path, small, embedding_rate=rate)["wte.weight"] - start).norm())
        for rate in (0.01, 1)
    ]
    assert 0 < far[0] < far[1] / 10
    llama = weights_of(tmp_path, small, embedding_rate=0, **LLAMA)
    assert "embed_tokens.weight" not in llama
    assert "layers.0.self_attn.q_proj.weight" in llama


def test_the_average_is_what_is_measured_and_kept(tmp_path: Path, small: list[Message]) -> None:
    fitting, run = trained(tiny(average=0.99, keep="last"), small, tmp_path)
    plain = trained(tiny(keep="last"), small, tmp_path)[1]
    assert run.step_losses == plain.step_losses  # the average never takes part in learning
    assert not same(run.weights, plain.weights)
    validation = make.labelled(halves(small)[1])
    log_odds = fitting.log_odds(run, fitting.reader(validation, plain=True))
    measured = calibration.loss(log_odds, validation.targets.double().numpy())
    assert run.history[-1].validation_loss == pytest.approx(measured, abs=1e-6)


@pytest.mark.parametrize("trainable", ["all", 1])
def test_the_best_epoch_is_kept(
    tmp_path: Path, small: list[Message], trainable: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"trainable": trainable, "schedule": "constant"}
    third = trained(tiny(epochs=3, keep="last", **fields), small, tmp_path)[1]
    calibrated = iter([0.5, 0.4, 0.2, 0.3])

    def scripted(_: object) -> tuple[float, float, float]:
        number = next(calibrated)
        return 1 - number, number, 0.5  # the plain loss would choose another

    monkeypatch.setattr(training._Run, "_validate", scripted)
    best = trained(tiny(epochs=4, **fields), small, tmp_path)[1]
    assert (best.best, len(best.history)) == (3, 4)
    assert same(best.weights, third.weights)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_without_validation_the_last_is_kept(
    tmp_path: Path, small: list[Message], keep: str
) -> None:
    fitting = begun(tiny(keep=keep), small, tmp_path)
    run = fitting.fit("run", fitting.reader(make.labelled(small)), None)
    assert run.best == 4
    before = fitting.start.build(fitting.recipe).state_dict()
    assert not torch.equal(run.weights["head.weight"], before["head.weight"])
    assert math.isnan(run.history[0].validation_loss)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, small: list[Message]) -> None:
    fields = {"dropout": 0.2, **ALTERED}
    state = torch.get_rng_state()
    first = weights_of(tmp_path / "1", small, **fields)
    assert torch.equal(torch.get_rng_state(), state)  # it draws from generators of its own
    torch.rand(3)
    again = weights_of(tmp_path / "2", small, **fields)
    other = weights_of(tmp_path / "3", small, seed=7, **fields)
    assert same(first, again)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    torch.set_rng_state(state)


def test_what_it_says(tmp_path: Path, small: list[Message]) -> None:
    said: list[str] = []
    trained(tiny(), small, tmp_path, said)
    assert said[0] == "gpt2: 2 blocks of width 16, vocabulary of 320 tokens"
    assert said[1].startswith("epoch 1/4 · 80 examples · train loss 0.")
    assert " · validation loss 0." in said[1]
    assert said[-1].startswith("epoch 4/4 · 320 examples")


@pytest.mark.parametrize("trainable", ["all", 1])
def test_looks_come_when_they_should(
    tmp_path: Path, small: list[Message], trainable: str | int
) -> None:
    recipe = tiny(trainable=trainable, evaluate_every=4, order="shuffled", keep="last", epochs=2)
    run = trained(recipe, small, tmp_path)[1]
    assert [look.step for look in run.looks] == [1, 5, 9, 10, 13, 17, 20]
    assert [look.examples for look in run.looks] == [8, 40, 72, 80, 104, 136, 160]
    blind = trained(recipe.model_copy(update={"evaluate_every": 0}), small, tmp_path)[1]
    assert not blind.looks
    assert all(0 < look.train_loss < 2 for look in run.looks)


def test_a_look_changes_no_batch_in_order_of_length(tmp_path: Path, small: list[Message]) -> None:
    seen = weights_of(tmp_path, small, evaluate_every=1, dropout=0.2, **ALTERED)
    assert same(seen, weights_of(tmp_path, small, dropout=0.2, **ALTERED))


def test_a_loss_that_is_no_number_ends_it(tmp_path: Path, small: list[Message]) -> None:
    with pytest.raises(SettingsError, match=r"the loss is (nan|inf) in step \d+: lower"):
        trained(tiny(learning_rate=1e38, gradient_clip=0), small, tmp_path)


def test_dropout_is_on_while_learning_alone(tmp_path: Path, small: list[Message]) -> None:
    fitting, run = trained(tiny(dropout=0.5, keep="last"), small, tmp_path)
    assert run.step_losses != trained(tiny(keep="last"), small, tmp_path)[1].step_losses
    plain = fitting.reader(make.labelled(small), plain=True)
    assert fitting.log_odds(run, plain).tolist() == fitting.log_odds(run, plain).tolist()


@pytest.mark.parametrize("trainable", ["all", 1, "head"])
def test_log_odds_are_the_whole_models_in_order(
    tmp_path: Path, small: list[Message], trainable: str | int
) -> None:
    fitting, run = trained(tiny(trainable=trainable, epochs=1), small, tmp_path)
    mixed = [small[(index * 37) % 120] for index in range(120)]
    reader = fitting.reader(make.labelled(mixed), plain=True)
    found = fitting.log_odds(run, reader)
    model = fitting.model(run)
    with torch.no_grad():
        alone = [model(pack([span]))[0] for span in reader.view(0).ids]
    assert found.tolist() == pytest.approx([float(x[1] - x[0]) for x in alone], abs=1e-4)
    picked = fitting.log_odds(run, reader.pick([90, 4]))
    assert picked.tolist() == pytest.approx([found[90], found[4]], abs=1e-5)
