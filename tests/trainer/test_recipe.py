"""Recipes from files, overridden by name, and what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.errors import SettingsError
from trainer.recipe import RECIPES, load


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_comes_along_loads(path: Path) -> None:
    assert load(path.stem) == load(str(path))
    assert load(path.stem).name == path.stem


def test_override() -> None:
    recipe = load("starter", ["epochs=2", "learning_rate = 1e-4"])
    assert (recipe.epochs, recipe.learning_rate) == (2, 1e-4)


def test_own_file_is_named_by_its_stem(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "vocab_size=300\nn_layer=1\nn_head=1\nn_embd=8\nn_positions=8\nepochs=1\nlearning_rate=1e-3"
    )
    assert load(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("epoch=2", "no field 'epoch'; there are name, seed"),
        ("epochs=none", "epochs: "),
        ("epochs=0", "epochs: "),
        ("n_head=3", "does not divide"),
        ("epochs", "name=value"),
        ("dropout=1", "dropout: "),
    ],
)
def test_wrong_overrides(override: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load("starter", [override])
    assert says in str(caught.value)


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="give one of starter"):
        load("strater")
    with pytest.raises(SettingsError, match="no recipe"):
        load("../recipes/starter")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(str(tmp_path / "absent.toml"))
    (tmp_path / "a.toml").write_text("= 3")
    with pytest.raises(SettingsError, match="is not TOML"):
        load(str(tmp_path / "a.toml"))
