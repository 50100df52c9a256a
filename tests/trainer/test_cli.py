"""The commands as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from filterd import artifact
from filterd.engine import Engine
from tests.artifacts import tiny_artifact
from tests.trainer.runs import toml
from trainer.cli import main
from trainer.dataset import Label, read_file, to_csv


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def prepared(capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    Path("own.tsv").write_bytes(content)
    code, out, _ = run(capsys, "prepare", "--path", "own.tsv")
    assert code == 0
    assert out.endswith(f"wrote {Path('data/own')}\n")


def test_from_data_to_a_served_artifact(
    capsys: pytest.CaptureFixture[str], small_tsv: bytes
) -> None:
    prepared(capsys, small_tsv)
    toml(Path("own.toml"), name="own", epochs=2, threshold=None, folds=2, false_positive_rate=0.1)
    command = ["train", "--recipe", "own.toml", "--data", "data/own", "--set", "n_layer=1"]
    code, out, _ = run(capsys, *command, "--output", "a")
    assert code == 0
    assert "epoch 2/2" in out
    loaded = artifact.load(Path("a"))
    manifest = loaded.manifest
    assert manifest.recipe["n_layer"] == 1
    lines = out.splitlines()
    assert (
        lines[-3] == f"threshold {manifest.threshold:.4f}, temperature {manifest.temperature:.4f}"
    )
    assert lines[-2].startswith("test split: F1 ")
    assert lines[-1] == f"wrote a ({manifest.version})"
    assert 0 <= Engine(loaded).score_texts(["win a prize"])[0] <= 1
    check_contents(Path("a"))

    code, out, _ = run(capsys, "evaluate", "a", "--data", "data/own", "--json")
    again = json.loads(out)
    assert code == 0
    for name in ("f1", "auc", "loss", "spam_found"):
        expected = manifest.metrics[f"test_{name}"]
        assert again[name] == pytest.approx(expected, abs=2e-6)
    code, out, _ = run(capsys, "show", "a", "--json")
    assert json.loads(out)["version"] == manifest.version

    code, out, err = run(capsys, *command)  # the run is finished: only the artifact is written
    assert (code, err) == (0, "")
    assert "epoch " not in out
    assert out.splitlines()[-1] == f"wrote artifacts/{manifest.version} ({manifest.version})"
    code, out, err = run(capsys, *command)
    assert (code, err.count("\n")) == (1, 1)
    assert "exists, and artifacts are never changed" in err


def check_contents(folder: Path) -> None:
    names = {path.name for path in (folder / "report").iterdir()}
    assert "evaluation.json" in names
    plots = [name for name in names if name.endswith(".png")]
    assert {"loss.png", "roc.png"} <= set(plots)
    for plot in plots:
        assert (folder / "report" / plot).read_bytes().startswith(b"\x89PNG")
    course = json.loads((folder / "report" / "evaluation.json").read_text(encoding="utf-8"))
    assert [epoch["number"] for epoch in course["epochs"]] == [1, 2]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "own.tsv" in card
    assert "CC BY" not in card
    assert "| test |" in card
    assert "not seen what they were asked set the temperature and threshold." in card


def test_a_student_of_a_teacher(capsys: pytest.CaptureFixture[str], small_tsv: bytes) -> None:
    prepared(capsys, small_tsv)
    teacher = tiny_artifact(Path("teacher"), version="teacher-1")
    toml(Path("own.toml"), name="own", epochs=1)
    Path("more.txt").write_text("something new\nand more\n", encoding="utf-8")
    Path("unseen.txt").write_text("ham\tnever seen\nspam\tnor this\n", encoding="utf-8")
    common = ["--recipe", "own.toml", "--data", "data/own", "--texts", "more.txt"]
    common += ["--unseen", "unseen.txt", "--set", "threshold=none"]
    common += ["--set", "folds=0", "--set", "false_positive_rate=0.5"]
    code, out, _ = run(capsys, "distill", "--teacher", str(teacher), *common, "--output", "s")
    assert code == 0
    assert "2 more texts" in out
    data = artifact.load(Path("s")).manifest.data
    assert (data["teacher"], data["texts"]) == ("teacher-1", {"more.txt": 2})
    card = Path("s/README.md").read_text(encoding="utf-8")
    assert "validation and 2 messages that nothing learned from set the temperature" in card


def test_the_target_is_checked_before_training(
    capsys: pytest.CaptureFixture[str], small_tsv: bytes
) -> None:
    prepared(capsys, small_tsv)
    Path("a").mkdir()
    for command in (["train"], ["distill", "--teacher", "absent"]):
        options = ["--recipe", "starter", "--data", "data/own", "--output", "a"]
        code, out, err = run(capsys, *command, *options)
        assert (code, out) == (1, "")
        assert err == "trainer: a exists, and artifacts are never changed: choose another\n"


HARDLY, SWAPPED = "it hardly tells spam from ham", "are the labels swapped?"


@pytest.mark.parametrize(
    ("epochs", "swap", "said"), [(1, False, [HARDLY]), (8, False, []), (8, True, [SWAPPED])]
)
def test_a_model_of_no_use_is_told(
    capsys: pytest.CaptureFixture[str], small_tsv: bytes, epochs: int, swap: bool, said: list[str]
) -> None:
    prepared(capsys, small_tsv)
    toml(Path("own.toml"), epochs=epochs, threshold=0.8)
    if swap:
        others: dict[Label, Label] = {"ham": "spam", "spam": "ham"}
        test = Path("data/own/test.csv")
        test.write_bytes(to_csv([replace(m, label=others[m.label]) for m in read_file(test)]))
    command = ["train", "--recipe", "own.toml", "--data", "data/own", "--output", "a"]
    code, out, err = run(capsys, *command)
    assert (code, "wrote a" in out) == (0, True)
    assert [warning for warning in (HARDLY, SWAPPED) if warning in err] == said


def test_one_text_with_both_labels_is_reported(
    capsys: pytest.CaptureFixture[str], small_tsv: bytes
) -> None:
    Path("own.tsv").write_bytes(
        small_tsv + b"ham\tboth\nspam\tBoth \nham\tsee you at lunch number 0\n"
    )
    code, out, _ = run(capsys, "prepare", "--path", "own.tsv")
    assert code == 0
    lines = out.splitlines()
    assert lines[:3] == [
        "own.tsv: 123 rows read",
        "1 duplicates dropped",
        "left out, one text with both labels: rows 121, 122",
    ]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.tsv", b"ham\tx\nspma\ty\nspam\tz\n", "a.tsv: row 2: the label is neither spam nor ham"),
        ("a.tsv", b"ham\tx\nspam\t \nspam\t\n", "a.tsv: rows 2, 3: the text is empty"),
        ("a.tsv", b"ham\tx\nham\ty\n", "a.tsv holds only ham: it takes spam and ham"),
        ("a.csv", b"kind,words\nham,x\n", "--text-column, one of: kind, words"),
        ("a.csv", b"label,text\nham,\xc3\xa9\nspam,\xe9\n", "a.csv is not UTF-8 in line 3"),
        ("a.tsv", b"ham\tx\nspam\ty\n", "too few messages"),
    ],
)
def test_bad_data_is_one_line(
    capsys: pytest.CaptureFixture[str], name: str, data: bytes, says: str
) -> None:
    Path(name).write_bytes(data)
    code, out, err = run(capsys, "prepare", "--source", "sms-spam-collection", "--path", name)
    assert (code, out) == (1, "")
    assert err.startswith("trainer: ")
    assert says in err
    assert err.count("\n") == 1


def test_bad_extra_data_is_one_line(capsys: pytest.CaptureFixture[str], small_tsv: bytes) -> None:
    prepared(capsys, small_tsv)
    toml(Path("own.toml"), epochs=1)
    command = ["train", "--recipe", "own.toml", "--data", "data/own"]
    for content, says in (
        ("kind,words\nham,x\n", "name it text, or give trainer prepare --text-column"),
        ("label,text\nham,x\nwhat,y\n", "row 2: the label is neither spam nor ham"),
    ):
        Path("more.csv").write_text(content)
        code, _, err = run(capsys, *command, "--extra", "more.csv")
        assert (code, err.count("\n")) == (1, 1)
        assert err.startswith("trainer: more.csv: ")
        assert says in err
    assert run(capsys, *command, "--extra", "absent.csv")[0] == 2
    code, _, err = run(capsys, *command, "--set", "batch_size=500")
    assert (code, err.count("\n")) == (1, 1)
    assert "fewer than a batch of 500" in err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "--recipe", "starter"], 1, "make it with trainer prepare"),
        (["train", "--recipe", "none"], 2, "no recipe 'none': give one of adapt, article, "),
        (["train", "--recipe", "none.toml"], 2, "none.toml cannot be read"),
        (["train", "--recipe", "starter", "--set", "trainable=9"], 2, "more than n_layer 3"),
        (["train", "--recipe", "starter", "--set", "epochs"], 2, "write it as name=value"),
        (["train", "--recipe", "starter", "--backbone", "gpt2"], 2, "--set embedding="),
        (["distill", "--recipe", "none", "--teacher", "x"], 2, "no recipe 'none'"),
        (["distill", "--recipe", "starter", "--teacher", "x"], 1, "make it with trainer prepare"),
        (["fetch", "nothing-of-the-kind"], 2, "nothing-of-the-kind"),
        (["train", "--recipe", "starter", "--set", "x=1"], 2, "no field 'x'"),
        (["show", "absent"], 1, "no artifact at absent"),
        (["evaluate", "absent", "--data", "."], 1, "has no test.csv: give a folder"),
        (["evaluate", "absent", "--data", "nothing"], 2, "Try 'trainer evaluate --help'"),
        (["train", "--recipe", "starter", "--data", __file__], 1, "--path"),
        (["prepare", "--source", "sms-spam-collection", "--path", "."], 1, "holds no SMSSpam"),
    ],
)
def test_errors_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    ended, out, err = run(capsys, *arguments)
    assert (ended, out) == (code, "")
    assert err.startswith("trainer: ")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        *(["prepare"], ["prepare", "--source", "x"], ["train"], ["nothing"], ["--what"]),
        *(["distill", "--recipe", "starter"], ["fetch"], ["evaluate", "a"], ["promote"]),
        ["train", "--recipe", "starter", "--nonsense"],
    ],
)
def test_wrong_use_is_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_an_address_alone_is_of_the_public_set(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "prepare", "--url", "http://127.0.0.1:9/sms.zip")
    assert code == 1
    assert "http://127.0.0.1:9/sms.zip" in err


def test_path_and_url_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    source = ["--source", "sms-spam-collection"]
    code, _, err = run(capsys, "prepare", *source, "--path", ".", "--url", "http://x")
    assert (code, err) == (2, "trainer: --path and --url exclude each other\n")


@pytest.mark.parametrize("order", [["--debug", "show", "no"], ["show", "--debug", "no"]])
def test_debug_shows_the_traceback(order: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "trainer", *order], capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("train", ("--recipe", "--data", "--extra", "--output", "--backbone", "TRAINER_ARTIFACTS")),
        ("distill", ("--teacher", "--texts", "--recipe", "--set", "--backbone")),
        ("fetch", ("NAME", "gpt2-xl", "smollm2-135m-wheel", "minilm-l6-wheel")),
        ("evaluate", ("ARTIFACT", "--data", "--report", "--robustness", "--json")),
        ("prepare", ("--source", "--path", "--article", "--text-column")),
        ("show", ("ARTIFACT", "--artifacts", "TRAINER_ARTIFACTS")),
    ],
)
def test_help(capsys: pytest.CaptureFixture[str], command: str, names: tuple[str, ...]) -> None:
    code, out, err = run(capsys, command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: trainer {command} [OPTIONS]")
    assert [name for name in (*names, "--debug") if name not in out] == []


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, trainer.cli\n"
        "for words in (['--help'], ['train', '--help'], ['evaluate', '--help']):\n"
        "  try: trainer.cli.main(words)\n"
        "  except SystemExit: pass\n"
        "print([m for m in ('torch', 'pandas', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}
    )
    assert ended.stdout.splitlines()[-1] == "[]"
    assert "prepare" in ended.stdout
