"""``trainer cascade``: the artifact that it writes does what its manifest says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from filterd import artifact
from filterd.artifact import MANIFEST
from filterd.classifier import Classifier
from filterd.entries import Label
from filterd.errors import ArtifactError, SettingsError
from tests.trainer.runs import prepared, tiny
from trainer.cascading import Fit, Pair, cascade
from trainer.crossing import cross_validate
from trainer.dataset import Message, to_csv
from trainer.distillation import Sources
from trainer.make import Place, make


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    """Spam that names a prize, among ham; some of either is hard to tell."""
    kinds: tuple[tuple[Label, str], ...] = (
        ("ham", "lunch at {} with anna"),
        ("spam", "win prize {} now"),
    )
    hard: tuple[tuple[Label, str], ...] = (
        ("spam", "lunch prize {} with anna"),
        ("ham", "win lunch {} now"),
    )
    rows = []
    for number in range(1, 121):
        pair, turn = (kinds, number) if number % 8 else (hard, number // 8)
        label, text = pair[turn % 2]
        rows.append(Message(text.format(number), label, number))
    return rows


@pytest.fixture(scope="module")
def made(messages: list[Message], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepared data, and a fast and a large artifact trained on it."""
    folder = tmp_path_factory.mktemp("cascade")
    data = prepared(folder / "data", messages)
    (folder / "unseen.csv").write_bytes(to_csv(messages[:60]))
    for name, fields in (("fast", {"n_layer": 1, "epochs": 2}), ("large", {})):
        recipe = tiny(name=name, **fields)
        make(recipe, data, Place(folder / name, folder / "work"), [].append)
    return folder


def joined(made: Path, output: Path, unseen: Sequence[Path] = ()) -> tuple[Path, Fit]:
    sources = Sources(made / "data", unseen=unseen)
    pair = Pair(made / "fast", made / "large")
    return cascade(pair, sources, 3, Place(output, made / "work"), [].append)


@pytest.mark.parametrize("unseen", [False, True])
def test_no_f1_is_lost_and_the_manifest_states_the_band(
    made: Path, tmp_path: Path, unseen: bool
) -> None:
    files = [made / "unseen.csv"] if unseen else []
    target, found = joined(made, tmp_path / "both", files)
    assert found.rows == (60 if unseen else 120)
    assert found.f1 >= found.large_f1
    loaded = artifact.load(target)
    band = loaded.manifest.cascade
    assert band is not None
    assert loaded.fast is not None
    assert (
        band.fast == loaded.fast.manifest.version == artifact.load(made / "fast").manifest.version
    )
    assert band.measures["answered"] == found.answered
    assert (target / "fast" / MANIFEST).read_bytes() == (made / "fast" / MANIFEST).read_bytes()


def test_the_classifier_answers_as_the_fit_says(
    made: Path, messages: list[Message], tmp_path: Path
) -> None:
    target, found = joined(made, tmp_path / "both", [made / "unseen.csv"])
    verdicts = Classifier.load(target, precision="fp32").classify([m.text for m in messages[:60]])
    answered = sum(verdict.stage == "fast" for verdict in verdicts) / len(verdicts)
    assert answered == pytest.approx(found.answered, abs=1e-6)


def test_a_cascade_has_no_folds(made: Path, tmp_path: Path) -> None:
    target, _ = joined(made, tmp_path / "both", [made / "unseen.csv"])
    with pytest.raises(SettingsError, match="evaluate its parts"):
        cross_validate(target, Sources(made / "data"), 3, tmp_path / "work", [].append)


def test_a_cascade_of_a_cascade_is_refused(made: Path, tmp_path: Path) -> None:
    target, _ = joined(made, tmp_path / "both", [made / "unseen.csv"])
    pair = Pair(target, made / "large")
    with pytest.raises(ArtifactError, match="give its parts"):
        cascade(
            pair, Sources(made / "data"), 3, Place(tmp_path / "more", tmp_path / "work"), [].append
        )
