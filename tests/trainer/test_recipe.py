"""Recipes from files, overridden by name, and what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.errors import SettingsError
from tests.trainer.runs import TINY, toml
from trainer.recipe import RECIPES, Recipe, load

OTHERS = {
    "name": "other",
    "seed": "7",
    "backbone": "gpt2-medium",
    "embedding": "",
    "family": "llama",
    "vocab_size": "300",
    "n_layer": "4",
    "n_head": "4",
    "n_kv_head": "2",
    "n_embd": "32",
    "n_inner": "48",
    "max_length": "32",
    "normalization": "confusables",
    "pooling": "padded-last",
    "trainable": "2",
    "zero_head": "true",
    "undersample": "true",
    "corpus": "true",
    "contrasts": "true",
    "base_weight": "2",
    "balance": "0.5",
    "alteration": "0.25",
    "alter_corpus": "false",
    "ham_disguised": "0.5",
    "joining": "0.125",
    "cut_words": "0.5",
    "views": "3",
    "epochs": "9",
    "batch_size": "5",
    "order": "shuffled",
    "learning_rate": "1e-4",
    "embedding_rate": "0.5",
    "schedule": "constant",
    "warmup": "0.25",
    "beta2": "0.9",
    "weight_decay": "0",
    "decay_all": "true",
    "gradient_clip": "0",
    "dropout": "0.5",
    "label_smoothing": "0.25",
    "average": "0.5",
    "teacher_weight": "0.25",
    "hints": "minilm-l6-wheel",
    "hint_weight": "0.5",
    "keep": "last",
    "evaluate_every": "50",
    "evaluate_batches": "2",
    "folds": "3",
    "false_positive_rate": "0.25",
    "threshold": "0.75",
    "temperature": "0.7",
}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_comes_along_loads(path: Path) -> None:
    assert load(path.stem) == load(str(path))
    assert load(path.stem).name == path.stem


def test_every_field_can_be_overridden(tmp_path: Path) -> None:
    assert OTHERS.keys() == Recipe.model_fields.keys()
    path = str(toml(tmp_path / "tiny.toml", embedding="x"))
    before = load(path).model_dump()
    for name, text in OTHERS.items():
        after = load(path, [f" {name} = {text} ", *_beside(name)]).model_dump()
        assert after[name] != before[name], name
        assert str(after[name]).lower() == text or after[name] == float(text), name


def _beside(name: str) -> list[str]:
    """What has to change with a field."""
    return {
        "backbone": ["embedding="],
        "embedding": ["vocab_size=300"],
        "n_head": ["n_embd=16"],
        "hints": ["hint_weight=1"],
    }.get(name, [])


@pytest.mark.parametrize(
    ("text", "value"), [("head", "head"), ("all", "all"), ("1", 1), (" 2 ", 2)]
)
def test_what_is_trainable(tmp_path: Path, text: str, value: str | int) -> None:
    recipe = load(str(toml(tmp_path / "tiny.toml")), [f"trainable={text}"])
    assert recipe.trainable == value
    assert type(recipe.trainable) is type(value)


def test_trainable_in_a_file(tmp_path: Path) -> None:
    assert load(str(toml(tmp_path / "tiny.toml", trainable=1))).trainable == 1


def test_the_last_override_counts(tmp_path: Path) -> None:
    path = str(toml(tmp_path / "tiny.toml"))
    assert load(path, ["epochs=2", "epochs=3"]).epochs == 3


def test_own_file_is_named_by_its_stem(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    lines = toml(path).read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join(line for line in lines if not line.startswith("name")))
    assert load(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["epoch=2"], "no field 'epoch': did you mean epochs?"),
        (["nothing=2"], "no field 'nothing': trainer/recipe.py"),
        (["epochs"], "--set epochs: write it as name=value"),
        (["epochs=none"], "epochs: "),
        (["epochs=0"], "epochs: "),
        (["dropout=1"], "dropout: "),
        (["balance=-1"], "balance: "),
        (["trainable=0"], "trainable: "),
        (["trainable=tail"], "trainable: "),
        (["trainable=3"], "trainable 3 is more than n_layer 2"),
        (["name=../x"], "name: "),
        (["learning_rate=0"], "learning_rate: "),
        (["learning_rate=nan"], "learning_rate: "),
        (["n_head=3"], "n_embd 16 does not divide by n_head 3"),
        (["n_embd=0", "n_layer=0"], "a random backbone needs n_layer, n_embd"),
        (["vocab_size=0"], "a random backbone needs vocab_size, or an embedding"),
        (["backbone=gpt2", "embedding=gpt2"], "--set embedding="),
        (["folds=1"], "folds must be 0, or 2 or more"),
        (["trainable=1", "joining=0.1"], "frozen blocks see no altered message with views = 1"),
        (["false_positive_rate=0"], "false_positive_rate: "),
        (["max_length=0", "backbone=gpt2", "vocab_size=0"], "max_length = 0 is for padded-last"),
        (["max_length=0", "pooling=padded-last"], "a random backbone needs max_length"),
        (["max_length=1"], "max_length must leave room"),
        (["pooling=padded-last", "joining=0.1"], "padded-last has no joining"),
    ],
)
def test_a_refusal_is_one_line(tmp_path: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(str(toml(tmp_path / "tiny.toml")), overrides)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"give one of adapt, art.*starter, or FILE\.toml"):
        load("strater")
    with pytest.raises(SettingsError, match="no recipe"):
        load("../recipes/starter")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(str(tmp_path / "absent.toml"))
    (tmp_path / "a.toml").write_text("= 3")
    with pytest.raises(SettingsError, match="is not TOML"):
        load(str(tmp_path / "a.toml"))
    (tmp_path / "b.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(SettingsError, match="is not TOML"):
        load(str(tmp_path / "b.toml"))


def test_a_recipe_survives_the_manifest() -> None:
    recipe = Recipe.model_validate(TINY)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
