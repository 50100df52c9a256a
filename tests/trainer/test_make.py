"""From prepared data to an artifact: calibrated on what no model saw, measured on the test split"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from filterd import artifact as artifacts
from filterd.engine import Engine
from filterd.errors import ArtifactError, DataError, SettingsError
from tests.trainer.runs import ALTERED, decoded, prepared, tiny
from trainer import calibration, corpus, make
from trainer.course import Trained
from trainer.dataset import Message, read_file, to_csv
from trainer.distributed import Workers
from trainer.evaluation import score
from trainer.fitting import Fitting
from trainer.make import Place
from trainer.readers import Reader

pytestmark = pytest.mark.usefixtures("no_plots")
FOLDED = {"folds": 3, "threshold": None, "false_positive_rate": 0.1, "epochs": 2}


def test_artifacts_and_what_they_are_made_of_lie_together(tmp_path: Path) -> None:
    place = Place.among(tmp_path, None)
    assert (place.of("mine-1"), place.work) == (tmp_path / "mine-1", tmp_path / ".work")
    assert Place.among(tmp_path, Path("here")).of("mine-1") == Path("here")


@dataclass
class Seen:
    """What every run was given, in the order of events: its name, and the texts of all views."""

    events: list[tuple[str, list[str]]] = field(default_factory=list)

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fit, log_odds = Fitting.fit, Fitting.log_odds

        def fitted(of: Fitting, name: str, reader: Reader, validation: Reader | None) -> Trained:
            self.events.append((name, self._texts(of, reader)))
            return fit(of, name, reader, validation)

        def scored(of: Fitting, trained: Trained, reader: Reader) -> calibration.Floats:
            self.events.append(("log odds", self._texts(of, reader)))
            return log_odds(of, trained, reader)

        monkeypatch.setattr(Fitting, "fit", fitted)
        monkeypatch.setattr(Fitting, "log_odds", scored)

    @staticmethod
    def _texts(of: Fitting, reader: Reader) -> list[str]:
        epochs = range(max(of.recipe.epochs, of.recipe.views))
        views = {id(view): view for view in map(reader.view, epochs)}
        tokenizer = of.start.tokenizer
        return [text for view in views.values() for text in decoded(tokenizer, view)]


def told_apart(messages: Sequence[Message]) -> list[Message]:
    """The same messages, none of whose texts is part of another."""
    return [Message(f"{m.text} <{m.row}>", m.label, m.row) for m in messages]


def made(
    tmp_path: Path, data: Path, said: list[str] | None = None, **fields: Any
) -> artifacts.Artifact:
    place = Place(tmp_path / "a", tmp_path / "work")
    path, _ = make.make(tiny(**fields), data, place, ([] if said is None else said).append)
    assert path == tmp_path / "a"
    return artifacts.load(path)


@pytest.mark.parametrize("alter_corpus", [False, True])
def test_the_corpus_is_as_it_was_in_every_run_that_shall_not_alter_it(
    tmp_path: Path, small: list[Message], monkeypatch: pytest.MonkeyPatch, alter_corpus: bool
) -> None:
    (tmp_path / "corpus").mkdir()
    ours = [f"our own message {number} for later" for number in range(20)]
    lines = [f"{'spam' if number % 2 else 'ham'}\t{text}\n" for number, text in enumerate(ours)]
    (tmp_path / "corpus" / "ours.tsv").write_text("".join(lines))
    monkeypatch.setattr(corpus, "FOLDER", tmp_path / "corpus")
    seen = Seen()
    seen.watch(monkeypatch)
    changes = {"alteration": 1.0, "joining": 0.3, "alter_corpus": alter_corpus}
    frozen = {"trainable": 1, "views": 2, "corpus": True, "max_length": 60}
    said: list[str] = []
    made(tmp_path, prepared(tmp_path / "data", small), said, **FOLDED, **frozen, **changes)
    assert said[0] == "92 messages to learn from: 72 of data, 20 of trainer/corpus"
    runs = [texts for name, texts in seen.events if name != "log odds"]
    assert len(runs) == 4
    for texts in runs:
        unaltered = sum(texts.count(text) == 2 for text in ours)
        assert unaltered < 10 if alter_corpus else unaltered == 20


def test_the_manifest_says_what_was_done(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    said: list[str] = []
    found = made(tmp_path, data, said, epochs=8, normalization="confusables")
    manifest = found.manifest
    recipe = tiny(epochs=8, normalization="confusables")
    assert manifest.recipe == recipe.model_dump()
    assert (manifest.threshold, manifest.max_length) == (0.5, 24)
    assert (manifest.normalization, manifest.pooling) == ("confusables", "last")
    assert manifest.data["learned"] == 72
    assert said[0] == "72 messages to learn from"
    assert manifest.metrics["test_accuracy"] >= 0.9
    scores = score(found, read_file(data / "test.csv"))
    spam = make.truth(read_file(data / "test.csv"))
    assert manifest.metrics["test_accuracy"] == pytest.approx(((scores >= 0.5) == spam).mean())
    assert Engine(found).score_texts(["win a free prize now code 3"])[0] > 0.5
    assert manifest.int8 is not None
    assert manifest.int8.messages == len(read_file(data / "validation.csv")) + len(scores)
    assert manifest.int8.labels_equal > 0.95


@pytest.mark.parametrize(
    "reader",
    [{"trainable": "all"}, {"trainable": 1, "views": 3}, {"trainable": "head", "views": 2}],
    ids=["fresh", "stored", "head"],
)
def test_calibrated_out_of_fold(
    tmp_path: Path, small: list[Message], reader: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message that is not the test's is scored once, by a run that saw nothing of it."""
    data = prepared(tmp_path / "data", told_apart(small))
    seen, settled = Seen(), []
    seen.watch(monkeypatch)
    settle = make.settle

    def recorded(*given: Any) -> tuple[float, float]:
        settled.append((given, settle(*given)))
        return settled[-1][1]

    monkeypatch.setattr(make, "settle", recorded)
    found = made(tmp_path, data, joining=0.6, max_length=80, vocab_size=300, **reader, **FOLDED)

    names = [name for name, _ in seen.events]
    expected = [name for fold in (1, 2, 3) for name in (f"fold-{fold}", "log odds")]
    assert names == ["run", *expected]
    parts = {name: read_file(data / f"{name}.csv") for name in ("train", "validation", "test")}
    known = [m.text for name in ("train", "validation") for m in parts[name]]
    left_out = []
    for (_, learned), (_, outside) in zip(seen.events[1::2], seen.events[2::2], strict=True):
        together = "\n".join(learned)
        assert not [text for text in outside if text in together]
        assert all(text in together for text in set(known) - set(outside))
        left_out += outside
    assert sorted(left_out) == sorted(known)
    everything = "\n".join(text for _, learned in seen.events for text in learned)
    assert not [message.text for message in parts["test"] if message.text in everything]
    assert not [m.text for m in parts["validation"] if m.text in "\n".join(seen.events[0][1])]

    ((_, unseen), (temperature, threshold)) = settled[0]
    log_odds, spam = unseen.log_odds, make.truth(unseen.messages)
    assert (found.manifest.temperature, found.manifest.threshold) == (temperature, threshold)
    assert len(log_odds) == len(spam) == len(known)
    scores = calibration.scores(log_odds, temperature)
    assert temperature == pytest.approx(calibration.fit_temperature(log_odds, spam), abs=1e-4)
    assert ((scores >= threshold) & (spam == 0)).sum() <= 0.1 * (spam == 0).sum()


def test_without_folds_validation_calibrates(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    found = made(tmp_path, data, threshold=0.75, epochs=1)  # one that still errs
    assert found.manifest.threshold == 0.75
    logits = calibration.margins(score(found, read_file(data / "validation.csv")))
    spam = make.truth(read_file(data / "validation.csv"))
    assert calibration.fit_temperature(logits, spam) == pytest.approx(1, abs=0.05)


def test_too_few_ham_for_the_rate(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    fields = {**FOLDED, "false_positive_rate": 0.02, "epochs": 1}
    with pytest.raises(DataError) as caught:
        made(tmp_path, data, **fields)
    assert "64 ham messages can show no rate below 0.04688" in str(caught.value)
    assert "give at least 150, or allow a higher rate" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "work").exists()  # nothing was trained


def test_fewer_messages_than_a_batch(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    with pytest.raises(DataError) as caught:
        made(tmp_path, data, batch_size=73)
    assert str(caught.value) == (
        "72 messages to learn from, fewer than a batch of 73: bring more, or --set batch_size=18"
    )
    with pytest.raises(DataError, match="64 messages in a run, fewer than a batch of 70"):
        made(tmp_path, data, batch_size=70, order="shuffled", **FOLDED)


def test_one_class_only(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    (data / "train.csv").write_bytes(to_csv(small[:60]))
    with pytest.raises(DataError, match=r"train\.csv holds only ham: it takes spam and ham"):
        made(tmp_path, data)


def test_too_few_of_a_class_for_the_folds(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    with pytest.raises(DataError, match="32 distinct spam for 33 folds: give fewer folds"):
        made(tmp_path, data, **{**FOLDED, "folds": 33, "epochs": 1})


def test_sizes_that_do_not_fit(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    for fields, says in (
        ({"family": "llama", "n_head": 4, "n_kv_head": 3}, "heads do not divide"),
        ({"n_kv_head": 1}, "as many heads of keys"),
        ({"family": "llama", "n_head": 16}, "even head width"),
    ):
        with pytest.raises(SettingsError, match=says) as caught:
            made(tmp_path, data, **fields)
        assert str(caught.value).startswith("recipe tiny: ")


def test_what_stands_there_stays(tmp_path: Path, small: list[Message]) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ArtifactError, match="exists, and artifacts are never changed"):
        made(tmp_path, tmp_path / "absent")


def test_padded_to_the_longest(tmp_path: Path, small: list[Message]) -> None:
    """As the article does, with a backbone that reads fewer tokens too."""
    from tests.checkpoints import learned, random_gpt2

    folder = tmp_path / "backbone"
    random_gpt2().save_pretrained(folder)
    learned(digits=False).model.save(str(folder))
    pretrained = {"backbone": str(folder), "vocab_size": 0, "n_layer": 0, "n_head": 0, "n_embd": 0}
    fields = {"pooling": "padded-last", "max_length": 0, "epochs": 1, "trainable": "head"}
    found = made(tmp_path, prepared(tmp_path / "data", small), **pretrained, **fields)
    longest = max(len(found.tokenizer.encode(m.text)) for m in small if m.row % 5 < 3)
    assert found.manifest.max_length == longest < 64
    (tmp_path / "a").rename(tmp_path / "b")
    long = [Message("z" * 200, "ham", 1), *small[1:]]
    found = made(tmp_path, prepared(tmp_path / "long", long), **pretrained, **fields)
    assert found.manifest.max_length == 64


def test_other_processes_than_the_first_write_nothing(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    place = Place(tmp_path / "a", tmp_path / "work")
    path, _ = make.make(tiny(epochs=1), data, place, print, workers=Workers(rank=1))
    assert path == tmp_path / "a"
    assert not path.exists()


def test_the_same_again_has_the_same_version(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    versions = []
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        fields = {**FOLDED, **ALTERED, "dropout": 0.1}
        versions.append(made(tmp_path / name, data, **fields).manifest.version)
    assert versions[0] == versions[1]
    assert versions[0].startswith("tiny-")
