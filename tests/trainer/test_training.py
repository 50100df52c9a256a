"""Training learns, changes what it may and nothing else, and takes the steps it says it takes."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know
from transformers import GPT2Config, GPT2Model

from filterd.errors import SettingsError
from filterd.packing import pack
from tests.checkpoints import learned as learned_vocabulary
from tests.checkpoints import random_gpt2, random_llama
from tests.trainer.runs import ALTERED, LLAMA, begun, halves, same, tiny, trained
from trainer import calibration, encoding, make, training
from trainer.course import Trained
from trainer.dataset import Message
from trainer.fitting import Fitting
from trainer.loader import Batches
from trainer.losses import class_weights
from trainer.optimising import share_of_rate
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


# Every step, beside a loop that a reader of a textbook would write.

METHODS: dict[str, dict[str, Any]] = {
    "plain": {"gradient_clip": 0, "weight_decay": 0, "schedule": "constant", "beta2": 0.999},
    "usual": {"balance": 0.7, "label_smoothing": 0.1, "average": 0.8, "gradient_clip": 0.3},
    "slow embedding": {"embedding_rate": 0.1, "decay_all": True},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("trainable", ["all", 1, 2, "head"])
@pytest.mark.parametrize("family", [{}, LLAMA], ids=["gpt2", "llama"])
def test_steps_are_those_of_the_whole_model(
    tmp_path: Path,
    small: list[Message],
    method: str,
    trainable: str | int,
    family: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where frozen blocks were computed beforehand, and batches are in no order of length."""
    monkeypatch.setattr(Batches, "of", mixed)
    recipe = tiny(trainable=trainable, epochs=2, keep="last", **METHODS[method], **family)
    learned = small[30:110]
    fitting = begun(recipe, learned, tmp_path)
    examples = soft(learned)
    run = fitting.fit("run", fitting.reader(examples), None)
    losses, weights = reference(recipe, fitting, examples, 2)
    assert run.step_losses == pytest.approx(losses, abs=2e-5)
    for name, weight in run.weights.items():
        assert torch.allclose(felt(name, weight), felt(name, weights[name]), atol=2e-4), name


def felt(name: str, weight: Tensor) -> Tensor:
    """A weight without the bias of attention's keys.

    Softmax does not feel that one: its gradient is rounding, of which AdamW makes whole steps.
    """
    query, _, value = weight.chunk(3) if name.endswith("c_attn.bias") else (weight,) * 3
    return torch.cat((query, value))


def mixed(batches: Batches, epoch: int, lengths: list[int]) -> Iterator[list[int]]:
    """Packing sorts each of these anew."""
    order = random.Random(epoch).sample(range(len(lengths)), len(lengths))
    for start in range(0, len(order), 8):
        yield order[start : start + 8]


def soft(messages: list[Message]) -> encoding.Examples:
    """Targets between 0 and 1, as a teacher gives them, of messages that count more or less."""
    targets = [0.9 if message.label == "spam" else (message.row % 4) / 10 for message in messages]
    weights = [1.0 + message.row % 3 for message in messages]
    return encoding.of([message.text for message in messages], targets, weights)


def reference(
    recipe: Recipe, fitting: Fitting, examples: encoding.Examples, epochs: int
) -> tuple[list[float], dict[str, Tensor]]:
    """Loss before each step, and the averaged weights: the whole model, every time."""
    model = fitting.start.build(recipe)
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(
        [
            {"params": [p], "lr": own_rate(recipe, name), "weight_decay": own_decay(recipe, p)}
            for name, p in learning.items()
        ],
        betas=(0.9, recipe.beta2),
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    average = {name: p.detach().clone() for name, p in learning.items()}
    view = fitting.reader(examples, plain=True).view(0)
    weights = class_weights(view.targets, recipe.balance, view.weights)
    batches, losses = Batches(recipe, len(examples)), []
    for epoch in range(epochs):
        for batch in batches.of(epoch, [len(span) for span in view.ids]):
            packed = pack([view.ids[index] for index in batch])
            target = view.targets[batch][packed.order]
            both = torch.stack((1 - target, target), dim=-1)
            logits = model(packed)
            losses.append(F.cross_entropy(logits, both).item())
            each = F.cross_entropy(
                logits, both, label_smoothing=recipe.label_smoothing, reduction="none"
            )
            weight = (both @ weights) * view.weights[batch][packed.order]
            optimizer.zero_grad()
            ((each * weight).sum() / weight.sum()).backward()
            if recipe.gradient_clip:
                torch.nn.utils.clip_grad_norm_(learning.values(), recipe.gradient_clip)
            steps = batches.steps * recipe.epochs
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share_of_rate(len(losses) - 1, steps, recipe)
            optimizer.step()
            decay = min(recipe.average, len(losses) / (len(losses) + 10))
            for name, p in learning.items():
                average[name] = decay * average[name] + (1 - decay) * p.detach()
    return losses, average


def own_rate(recipe: Recipe, name: str) -> float:
    slow = name in ("wte.weight", "embed_tokens.weight")
    return recipe.learning_rate * (recipe.embedding_rate if slow else 1)


def own_decay(recipe: Recipe, parameter: Tensor) -> float:
    return recipe.weight_decay if parameter.ndim == 2 or recipe.decay_all else 0.0


def test_class_weights() -> None:
    spam = torch.tensor([0.0, 0, 0, 1])
    assert class_weights(spam, 0).tolist() == [1, 1]
    full = class_weights(spam, 1)
    assert full.tolist() == pytest.approx([2 / 3, 2])
    assert full[spam.long()].mean().item() == pytest.approx(1)
    half = class_weights(spam, 0.5)
    assert (half[1] / half[0]).item() == pytest.approx(math.sqrt(3))
    counted = class_weights(spam, 1, torch.tensor([1.0, 1, 1, 3]))
    assert counted.tolist() == pytest.approx([1, 1])
    soft = class_weights(torch.tensor([0.25, 0.25]), 1)
    assert soft.tolist() == pytest.approx([2 / 3, 2])


def test_balance_finds_more_of_the_rarer(tmp_path: Path, small: list[Message]) -> None:
    """Texts that say nothing of their label: only its frequency can be learned."""
    labels = ["spam" if row % 4 == 0 else "ham" for row in range(80)]
    same_text = [Message("hello", "spam" if word == "spam" else "ham", 1) for word in labels]
    odds = {}
    for balance in (0, 1):
        recipe = tiny(
            balance=balance, vocab_size=257, epochs=8, learning_rate=2e-2, keep="last", average=0.9
        )
        fitting = begun(recipe, same_text, tmp_path)
        run = fitting.fit("run", fitting.reader(make.labelled(same_text)), None)
        plain = fitting.reader(make.labelled(same_text[:1]), plain=True)
        odds[balance] = float(fitting.log_odds(run, plain)[0])
    assert odds[0] == pytest.approx(-math.log(3), abs=0.35)
    assert odds[1] == pytest.approx(0, abs=0.35)


def test_soft_targets_are_learned_as_they_are(tmp_path: Path) -> None:
    texts = ["win a prize", "see you soon"] * 40
    examples = encoding.of(texts, [0.8, 0.3] * 40)
    messages = [Message(text, "ham", 1) for text in texts]
    recipe = tiny(epochs=12, learning_rate=1e-2, keep="last", average=0.8)
    fitting = begun(recipe, messages, tmp_path)
    run = fitting.fit("run", fitting.reader(examples), None)
    log_odds = fitting.log_odds(run, fitting.reader(examples.pick([0, 1]), plain=True))
    assert calibration.scores(log_odds, 1).tolist() == pytest.approx([0.8, 0.3], abs=0.03)


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
