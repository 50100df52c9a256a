"""``trainer evaluate``: with and without a baseline, of one label, and what it warns of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from random import Random

import pytest

from filterd import artifact
from filterd.errors import ArtifactError, DataError
from trainer import report
from trainer.dataset import Message, read_file, to_csv
from trainer.evaluating import evaluate_command
from trainer.evaluation import evaluate
from trainer.findings import Findings
from trainer.report import page


@pytest.fixture
def prepared(tmp_path: Path, small: list[Message]) -> Path:
    """A folder with a training and a test split that share no text."""
    (tmp_path / "train.csv").write_bytes(to_csv(small[::2]))
    (tmp_path / "test.csv").write_bytes(to_csv(small[1::2]))
    return tmp_path


def run(data: Path, **wanted: object) -> Findings:
    return evaluate_command(artifact.STARTER, data, **wanted)  # type: ignore[arg-type]


def test_a_prepared_folder(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (report, page):
        monkeypatch.setattr(module, "render", lambda *_: b"")
    loud = {"loud": lambda text, _: text.upper()}
    found = run(prepared, report_to=prepared / "report", alterations=loud)
    test = read_file(prepared / "test.csv")
    assert found.evaluation.measures == evaluate(artifact.load(), test).measures
    assert found.baseline is not None
    assert found.baseline.measures.f1 == 1
    assert found.differences["f1"].high <= 0
    for rows in (found.robustness, found.baseline_robustness):
        assert rows is not None
        assert [row.alteration for row in rows] == ["plain", "loud"]
    assert found.course is not None
    assert "epochs" in found.course
    values = json.loads((prepared / "report" / "evaluation.json").read_bytes())
    assert values == json.loads(json.dumps(found.as_json()))
    assert (values["model"], values["data"]) == (artifact.load().manifest.version, str(prepared))
    assert (prepared / "report" / "loss.png").is_file()
    assert all("text" not in mistake for mistake in values["mistakes"])


def test_a_file_of_a_name_that_was_learned_is_told(prepared: Path) -> None:
    learned = prepared / "alone" / "india_sms.tsv"
    learned.parent.mkdir()
    rows = [f"{message.label}\t{message.text}\n" for message in read_file(prepared / "test.csv")]
    learned.write_text("".join(rows))
    said, rest = run(learned).notes
    assert said.startswith("the artifact learned 1,030 messages of a file called india_sms.tsv: ")
    assert rest.startswith("no baseline: ")


def test_a_file_beside_its_training_split_and_one_alone(prepared: Path) -> None:
    found = run(prepared / "test.csv")
    assert found.baseline is not None
    assert found.robustness is None
    (prepared / "train.csv").unlink()
    alone = run(prepared / "test.csv")
    assert alone.baseline is None
    assert alone.differences == {}
    assert alone.evaluation.measures == found.evaluation.measures
    assert alone.notes == [
        "no baseline: there is no other train.csv beside test.csv to train it on"
    ]
    assert "baseline" not in alone.as_json()


def test_the_training_split_itself_has_no_baseline(prepared: Path) -> None:
    assert run(prepared / "train.csv").baseline is None


def test_texts_learned_by_heart_are_told(prepared: Path, small: list[Message]) -> None:
    shouted = [Message(m.text.upper(), m.label, m.row) for m in small[:6:2]]
    (prepared / "test.csv").write_bytes(to_csv([*small[1::2], *shouted]))
    assert any(note.startswith("3 of 63 messages are also in") for note in run(prepared).notes)


def test_another_training_split_than_the_artifacts_is_told(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = run(prepared).notes
    assert any(note.startswith("the artifact was not trained on the train.csv") for note in notes)
    loaded = artifact.load()
    checksum = hashlib.sha256((prepared / "train.csv").read_bytes()).hexdigest()
    data: dict[str, object] = {"splits": {"train": {"sha256": checksum}}}
    manifest = loaded.manifest.model_copy(update={"data": data})
    same = artifact.Artifact(loaded.path, manifest, loaded.tokenizer, loaded.weights)
    monkeypatch.setattr(artifact, "load", lambda _: same)
    assert run(prepared).notes == []
    data["added"] = {"more.csv": 2, "none.csv": 0, "chat.tsv": 1}
    assert ["more.csv, chat.tsv" in note for note in run(prepared).notes] == [True]


def test_ham_alone_is_measured(tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").write_text("ham\tsee you at lunch\nham\tare you home?\n", "utf-8")
    found = run(tmp_path / "mine.tsv", alterations={"x": lambda text, _: text})
    assert found.evaluation.measures.recall is None
    assert found.robustness == []
    assert found.as_json()["reasons"]["f1"] == "there is no spam"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("label,text\n", "own.csv holds no messages"),
        ("label,text\nspam,\nham,x\n", "row 1: the text is empty"),
        ("label,text\nno,x\n", "neither spam nor ham"),
        (None, "own.csv cannot be read"),
    ],
)
def test_what_cannot_be_measured(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "own.csv"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        run(path)


def test_no_artifact(prepared: Path) -> None:
    with pytest.raises(ArtifactError, match="no artifact"):
        evaluate_command(prepared / "absent", prepared)


def test_a_damaged_report_is_no_hindrance(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = artifact.load()
    moved = artifact.Artifact(prepared, loaded.manifest, loaded.tokenizer, loaded.weights)
    monkeypatch.setattr(artifact, "load", lambda _: moved)
    (prepared / "report").mkdir()
    for content in ("{", "[]"):
        (prepared / "report" / "evaluation.json").write_text(content, "utf-8")
        assert run(prepared).course is None


def test_robustness_is_reproducible(prepared: Path) -> None:
    def typo(text: str, rng: Random) -> str:
        place = rng.randrange(len(text))
        return text[:place] + text[place + 1 :]

    first, again = (run(prepared, alterations={"typo": typo}).robustness for _ in range(2))
    assert first == again
