"""The committed starter is what its card says."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from filterd import artifact
from filterd.classifier import Classifier
from filterd.demo import SAMPLE, sample
from tests.trainer.runs import prepared
from trainer import augment
from trainer import recipe as recipes
from trainer.dataset import Message, read_file
from trainer.evaluation import evaluate
from trainer.make import Place, check_rate, make
from trainer.material import gather
from trainer.prepare import prepare
from trainer.source import local

WON = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."


def test_its_measures_are_those_of_its_manifest(tmp_path: Path, sms: Path) -> None:
    loaded = artifact.load()
    card = prepare(local(sms), tmp_path, 123, (None, None))
    for name in ("validation", "test"):
        assert card["splits"][name]["sha256"] == loaded.manifest.data["splits"][name]["sha256"]
        found = evaluate(loaded, read_file(tmp_path / f"{name}.csv")).measures.named(name)
        expected = {key: loaded.manifest.metrics[key] for key in found}
        assert found == pytest.approx(expected, abs=1e-5)


def test_it_is_as_good_as_promised() -> None:
    metrics = artifact.load().manifest.metrics
    assert metrics["test_f1"] >= 0.92
    assert metrics["test_auc"] >= 0.992


def test_the_articles_example_is_spam() -> None:
    assert [verdict.label for verdict in Classifier.load().classify([WON])] == ["spam"]


def test_it_comes_from_the_recipe_as_it_is() -> None:
    changed = {
        "epochs": 7,
        "batch_size": 128,
        "learning_rate": 2.8e-3,
        "folds": 0,
        "false_positive_rate": 0.003,
    }
    made_by = recipes.of_artifact(artifact.load().manifest)
    assert made_by.model_dump() == recipes.load("starter").model_dump() | changed


def test_a_retraining_can_set_its_successors_threshold(tmp_path: Path, sms: Path) -> None:
    """Other messages than the prepared ones set the starter's own."""
    manifest = artifact.load().manifest
    assert (manifest.recipe["folds"], manifest.data["unseen"] > 0) == (0, True)
    prepare(local(sms), tmp_path, 123, (None, None))
    recipe = recipes.to_repeat(manifest)
    check_rate(recipe, gather(recipe, tmp_path))
    assert recipe.false_positive_rate == manifest.recipe["false_positive_rate"]
    own = manifest.model_copy(update={"data": {}})
    assert recipes.to_repeat(own) == recipes.of_artifact(own)


def test_it_is_small_and_whole() -> None:
    loaded = artifact.load()
    for name, checksum in loaded.manifest.files.items():
        assert artifact.sha256((artifact.STARTER / name).read_bytes()) == checksum
    size = sum(path.stat().st_size for path in artifact.STARTER.rglob("*") if path.is_file())
    assert size <= 12_000_000
    card = (artifact.STARTER / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in card
    assert "Almeida" in card
    notice = (artifact.STARTER / "NOTICE").read_text(encoding="utf-8")
    assert "SmolLM2" in notice
    assert "apache-2.0" in notice


def test_disguises_do_not_hide_spam() -> None:
    disguised = [
        WON.replace("winner", "win\u200bner").replace("cash", "ca\u200bsh"),
        WON.replace("a", "\u0430").replace("o", "\u043e"),
        WON.replace("winner", "w.i.n.n.e.r").replace("cash", "c.a.s.h"),
        WON.replace("i", "ï").replace("e", "é"),
    ]
    assert {verdict.label for verdict in Classifier.load().classify(disguised)} == {"spam"}


@pytest.mark.parametrize("name", ["case", "leet", "spelt_out", "accents", "typos"])
def test_little_spam_is_missed_for_its_disguise(name: str) -> None:
    spam = [text for label, text in sample() if label == "spam"]
    rng = random.Random(4)
    disguised = [augment.ALTERATIONS[name](text, rng) for text in spam]
    plain, hidden = (
        [verdict.label for verdict in Classifier.load().classify(texts)].count("spam")
        for texts in (spam, disguised)
    )
    assert plain > 0.9 * len(spam)
    assert plain - hidden <= 0.12 * len(spam)


@pytest.mark.usefixtures("no_plots")
def test_adapt_learns_a_new_kind_and_forgets_little(tmp_path: Path) -> None:
    """As the recipe is but for its corpus, which takes a minute more."""
    messages = [
        Message(f"Canteen: menu of day {row}, soup and {dish} at noon, room {row % 9}", "spam", row)
        if row % 2
        else Message(f"Canteen staff: shift {row} of {dish} is yours, room {row % 9}", "ham", row)
        for row, dish in enumerate(("rice", "dal", "fish", "kofta") * 60)
    ]
    changed = ("corpus=false", "batch_size=16", "epochs=6")
    place = Place(tmp_path / "mine", tmp_path / "work")
    data = prepared(tmp_path / "data", messages)
    _, mine = make(recipes.load("adapt", changed), data, place, lambda _: None)
    assert mine.manifest.metrics["test_f1"] > 0.9
    known = read_file(SAMPLE)
    before, now = (evaluate(found, known).measures for found in (artifact.load(), mine))
    assert before.auc is not None
    assert now.auc is not None
    assert now.auc > before.auc - 0.02
    starters = artifact.load().manifest
    assert mine.manifest.temperature == pytest.approx(starters.temperature, abs=1e-3)
    assert mine.manifest.threshold == pytest.approx(starters.threshold, abs=1e-3)
    card = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert "The last epoch was kept; the recipe gave temperature and threshold." in card
    assert "by way of starter-" in (tmp_path / "mine" / "NOTICE").read_text(encoding="utf-8")
