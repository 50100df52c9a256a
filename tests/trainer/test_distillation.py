"""A student learns its teacher's scores, and no fold of either sees what it is measured on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from filterd import artifact as artifacts
from filterd.errors import ArtifactError, DataError
from tests.artifacts import tiny_artifact
from tests.trainer.runs import prepared, tiny
from tests.trainer.test_make import Seen, told_apart
from trainer import distillation, hints, make, opinions
from trainer.dataset import Message, read_file, to_csv
from trainer.distillation import Sources, distill, soft
from trainer.distributed import ALONE, Workers
from trainer.evaluation import score_texts
from trainer.make import Place

pytestmark = pytest.mark.usefixtures("no_plots")
STUDENT: dict[str, Any] = {"n_layer": 1, "epochs": 25, "learning_rate": 1e-2, "max_length": 32}


def taught(tmp_path: Path, data: Path, **fields: Any) -> Path:
    """A teacher's artifact."""
    recipe = tiny(**{"max_length": 80, "name": "teacher", **fields})
    make.make(recipe, data, Place(tmp_path / "teacher", tmp_path / "work"), lambda _: None)
    return tmp_path / "teacher"


def distilled(
    tmp_path: Path, teacher: Path, sources: Sources, said: list[str] | None = None, **fields: Any
) -> artifacts.Artifact:
    place = Place(tmp_path / "student", tmp_path / "work")
    say = ([] if said is None else said).append
    path, _ = distill(tiny(**fields), teacher, sources, place, say)
    return artifacts.load(path)


def test_learns_the_teachers_scores_also_of_texts_without_a_label(
    tmp_path: Path, small: list[Message]
) -> None:
    """A teacher whose scores have nothing to do with the labels."""
    data = prepared(tmp_path / "data", small)
    teacher = tiny_artifact(tmp_path / "teacher", version="t-7", seed=3)
    texts = [f"{word} {index}" for word in ("zebra", "quartz") for index in range(40)]
    said = score_texts(artifacts.load(teacher), texts)
    assert said.std() > 0.02
    (tmp_path / "more.txt").write_text("\n".join(texts), encoding="utf-8")
    sources = Sources(data, texts=[tmp_path / "more.txt"])
    found = distilled(tmp_path, teacher, sources, teacher_weight=1.0, keep="last", **STUDENT)
    learned = score_texts(found, texts)
    odds = np.log(learned) - np.log1p(-learned)
    wanted = np.log(said) - np.log1p(-said)
    assert np.corrcoef(odds, wanted)[0, 1] > 0.7
    assert (found.manifest.data["teacher"], found.manifest.data["texts"]) == (
        "t-7",
        {"more.txt": 80},
    )


def test_labels_are_mixed_in(small: list[Message]) -> None:
    said = np.array([0.2, 0.9, 0.4])
    labelled = [Message("a", "spam", 1), Message("b", "ham", 2)]
    known = make.labelled(labelled, [3.0, 1.0])
    found = soft(tiny(teacher_weight=0.75), known, ["c"], said)
    assert found.weights.tolist() == [3, 1, 1]
    assert found.texts == ("a", "b", "c")
    assert found.targets.tolist() == pytest.approx([0.75 * 0.2 + 0.25, 0.75 * 0.9, 0.4])
    assert said.tolist() == [0.2, 0.9, 0.4]
    assert soft(tiny(teacher_weight=0), known, ["c"], said).targets.tolist() == pytest.approx(
        [1, 0, 0.4]
    )


def test_hints_are_learned_and_not_served(
    tmp_path: Path, small: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepared(tmp_path / "data", small)
    teacher = taught(tmp_path, data, n_layer=3, epochs=1)
    (tmp_path / "more.txt").write_text("one of many\ntwo of many\n", encoding="utf-8")
    sources = Sources(data, texts=[tmp_path / "more.txt"])
    seen: list[float] = []

    def watched(found: Tensor, wanted: Tensor, reduction: str) -> Tensor:
        seen.append(mse_loss(found, wanted).item())
        return mse_loss(found, wanted, reduction=reduction)

    monkeypatch.setattr("trainer.training.F.mse_loss", watched)
    wanted: dict[str, Any] = {**STUDENT, "joining": 0.2, "alteration": 0.3, "max_length": 80}
    found = distilled(tmp_path, teacher, sources, hint_weight=5.0, **wanted)
    steps = len(seen) // STUDENT["epochs"]
    assert np.mean(seen[-steps:]) < 0.7 * np.mean(seen[:steps])
    assert not [name for name in found.weights if "hint" in name]
    assert found.manifest.recipe["hint_weight"] == 5.0


def test_hints_are_kept_and_tell_texts_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = tiny_artifact(tmp_path / "teacher", version="t-1", seed=3)
    loaded = replace(
        artifacts.load(teacher),
        manifest=artifacts.load(teacher).manifest.model_copy(
            update={"recipe": tiny().model_dump()}
        ),
    )
    texts = ["come home", "come home", "win a prize now", "ok", "free prize now"]
    found = hints.of_teacher(loaded, texts, tmp_path / "work", ALONE)
    assert found.shape[0] == 5
    assert found.std().item() == pytest.approx(1, abs=1e-5)
    assert not torch.allclose(found[0], found[2], atol=0.1)
    computed = []
    means = hints._middle
    monkeypatch.setattr(hints, "_middle", lambda *given: computed.append(given[1]) or means(*given))
    assert torch.equal(hints.of_teacher(loaded, texts, tmp_path / "work", ALONE), found)
    hints.of_teacher(loaded, ["not before", *texts], tmp_path / "work", ALONE)
    assert computed == [["not before"]]


def test_what_another_run_has_put_there_meanwhile_stays(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        opinions._add(tmp_path / "opinions.json", {name: number / 2})
        hints._add(tmp_path / "hints.npz", {name: np.full(3, number, dtype=np.float16)})
    assert opinions._read(tmp_path / "opinions.json") == {"a": 0, "b": 0.5, "c": 1}
    means = hints._read(tmp_path / "hints.npz")
    assert {name: mean.tolist() for name, mean in means.items()} == {
        "a": [0, 0, 0],
        "b": [1, 1, 1],
        "c": [2, 2, 2],
    }


@pytest.mark.parametrize(
    ("teacher_is", "student_is"),
    [({"trainable": 1, "views": 3}, {"trainable": "all"}), ({}, {"trainable": 1, "views": 2})],
    ids=["stored teaches fresh", "fresh teaches stored"],
)
def test_no_fold_sees_what_is_left_out(
    tmp_path: Path,
    small: list[Message],
    teacher_is: dict[str, Any],
    student_is: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = prepared(tmp_path / "data", told_apart(small))
    joined = {"joining": 0.6, "max_length": 80, "epochs": 2}
    teacher = taught(tmp_path, data, **{**joined, **teacher_is})
    (tmp_path / "more.txt").write_text("one <a>\ntwo <b>\n", encoding="utf-8")
    seen = Seen()
    seen.watch(monkeypatch)
    distilled(
        tmp_path,
        teacher,
        Sources(data, texts=[tmp_path / "more.txt"]),
        **{**joined, "folds": 2, "threshold": None, "false_positive_rate": 0.1, **student_is},
    )
    names = [name for name, _ in seen.events]
    fold = ["teacher", "log odds", "fold-{}", "log odds"]
    assert names == ["run", *(name.format(number) for number in (1, 2) for name in fold)]
    known = [m.text for name in ("train", "validation") for m in read_file(data / f"{name}.csv")]
    tests = [m.text for m in read_file(data / "test.csv")]
    left_out = []
    for start in (1, 5):
        master, asked, student, outside = (texts for _, texts in seen.events[start : start + 4])
        for learned in (master, student):
            together = "\n".join(learned)
            assert not [text for text in [*outside, *tests] if text in together]
            assert all(text in together for text in set(known) - set(outside))
        assert {"one <a>", "two <b>"} <= set(asked)
        assert any("one <a>" in text for text in student)
        assert not any("<a>" in text for text in master)
        left_out += outside
    assert sorted(left_out) == sorted(known)


def test_more_texts_come_from_any_file_and_once(tmp_path: Path, small: list[Message]) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\n  \ntwo\nONE\n" + b'three, "x"\tyes')
    messages = [Message("two", "ham", 1), Message("four", "ham", 2), small[0]]
    (tmp_path / "b.csv").write_bytes(to_csv(messages))
    found = distillation.unlabelled([tmp_path / "a.txt", tmp_path / "b.csv"], small)
    assert found == {"a.txt": ["one", "two", 'three, "x"\tyes'], "b.csv": ["four"]}


def test_texts_that_say_nothing_new(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    teacher = tiny_artifact(tmp_path / "teacher")
    held_out = [m.text for name in ("validation", "test") for m in read_file(data / f"{name}.csv")]
    for content in ("", "\n \n", "\n".join(held_out), small[0].text.upper()):
        (tmp_path / "more.txt").write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match="hold nothing that is not in the data already"):
            distilled(tmp_path, teacher, Sources(data, texts=[tmp_path / "more.txt"]))
    (tmp_path / "more.txt").write_bytes(b"good\nb\xffd\n")
    with pytest.raises(DataError, match=r"more\.txt is not UTF-8 in line 2"):
        distilled(tmp_path, teacher, Sources(data, texts=[tmp_path / "more.txt"]))


def test_a_teacher_whose_recipe_cannot_be_repeated(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    teacher = tiny_artifact(tmp_path / "teacher")
    manifest = json.loads((teacher / artifacts.MANIFEST).read_text())
    manifest["recipe"] = {"name": "old", "n_positions": 32}
    (teacher / artifacts.MANIFEST).write_text(json.dumps(manifest))
    fields = {"folds": 2, "threshold": None, "false_positive_rate": 0.1, "epochs": 1}
    with pytest.raises(ArtifactError, match="another version of the trainer") as caught:
        distilled(tmp_path, teacher, Sources(data), **fields)
    assert "\n" not in str(caught.value)


def test_no_teacher(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    with pytest.raises(ArtifactError, match="no artifact at"):
        distilled(tmp_path, tmp_path / "absent", Sources(data))


def test_other_processes_than_the_first_write_nothing(tmp_path: Path, small: list[Message]) -> None:
    data = prepared(tmp_path / "data", small)
    teacher = tiny_artifact(tmp_path / "teacher")
    place = Place(tmp_path / "student", tmp_path / "work")
    distill(tiny(epochs=1), teacher, Sources(data), place, print, Workers(rank=1))
    assert not (tmp_path / "student").exists()
