"""The commands as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from filterd import artifact
from filterd.engine import Engine
from trainer.cli import main

TINY = [
    *("vocab_size=320", "n_layer=1", "n_head=2", "n_embd=16", "n_positions=24"),
    *("epochs=2", "batch_size=8", "learning_rate=1e-2"),
]


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
    code, out, _ = run(capsys, "prepare", "--source", "sms-spam-collection", "--path", "own.tsv")
    assert code == 0
    assert out.endswith(f"wrote {Path('data/own')}\n")


def settings() -> list[str]:
    return [part for value in TINY for part in ("--set", value)]


def test_from_data_to_a_served_artifact(
    capsys: pytest.CaptureFixture[str], small_tsv: bytes
) -> None:
    prepared(capsys, small_tsv)
    code, out, _ = run(
        capsys, "train", "--recipe", "starter", "--data", "data/own", "--output", "a", *settings()
    )
    assert code == 0
    assert "epoch 2/2" in out
    loaded = artifact.load(Path("a"))
    assert f"wrote a ({loaded.manifest.version})" in out
    assert 0 <= Engine(loaded).score_texts(["win a prize"])[0] <= 1
    check_contents(Path("a"))

    code, out, _ = run(capsys, "evaluate", "a", "--data", "data/own", "--json")
    again = json.loads(out)
    assert code == 0
    for name in ("f1", "auc", "loss", "spam_found"):
        expected = loaded.manifest.metrics[f"test_{name}"]
        assert again[name] == pytest.approx(expected, abs=2e-6)
    code, out, _ = run(capsys, "evaluate", "a", "--data", "own.tsv")
    assert (code, out.splitlines()[0].split()) == (0, ["rows", "120"])
    code, out, _ = run(capsys, "show", "a")
    assert json.loads(out)["version"] == loaded.manifest.version


def check_contents(folder: Path) -> None:
    names = {path.name for path in (folder / "report").iterdir()}
    plots = {"loss.png", "accuracy.png", "roc.png", "confusion.png", "scores.png"}
    assert names == {*plots, "evaluation.json"}
    for plot in plots:
        assert (folder / "report" / plot).read_bytes().startswith(b"\x89PNG")
    course = json.loads((folder / "report" / "evaluation.json").read_text(encoding="utf-8"))
    assert [epoch["number"] for epoch in course["epochs"]] == [1, 2]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "own.tsv" in card
    assert "CC BY" not in card
    assert "| test |" in card


def test_the_target_is_checked_before_training(
    capsys: pytest.CaptureFixture[str], small_tsv: bytes
) -> None:
    prepared(capsys, small_tsv)
    Path("a").mkdir()
    code, out, err = run(
        capsys, "train", "--recipe", "starter", "--data", "data/own", "--output", "a"
    )
    assert (code, out) == (1, "")
    assert err == "trainer: a exists, and artifacts are never changed: choose another\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "--recipe", "starter"], 1, "make it with trainer prepare"),
        (["train", "--recipe", "none"], 2, "no recipe 'none'"),
        (["train", "--recipe", "starter", "--set", "x=1"], 2, "no field 'x'"),
        (["show", "absent"], 1, "no artifact at absent"),
        (["evaluate", "absent", "--data", "."], 1, "test.csv cannot be read"),
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
    "arguments", [["prepare"], ["prepare", "--source", "x"], ["train"], ["nothing"], ["--what"]]
)
def test_wrong_use_is_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(capsys, *arguments)[0] == 2


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


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, trainer.cli\n"
        "try: trainer.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'pandas', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}
    )
    assert ended.stdout.splitlines()[-1] == "[]"
    assert "prepare" in ended.stdout
