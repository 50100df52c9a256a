"""The registry's commands as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from filterd import artifact
from tests.artifacts import tiny_artifact
from trainer.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a folder with a registry of two artifacts."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("one", "two")):
        tiny_artifact(Path("artifacts") / name, version=f"v-{name}", seed=seed)

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        return int(left.value.code or 0), *capsys.readouterr()

    return command


def test_promote_list_show_and_roll_back(run: Run) -> None:
    assert run("promote", "artifacts/one")[:2] == (0, "artifacts/champion is one\n")
    assert run("promote", "v-two", "--why", "better")[:2] == (0, "artifacts/champion is two\n")
    code, out, err = run("list")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["artifact", "created", "test", "F1", "test", "AUC", "threshold"]
    assert ["champion" in line for line in lines[1:]] == [True, False]
    objects = [json.loads(line) for line in run("list", "--json")[1].splitlines()]
    assert [(o["name"], o["version"], o["link"]) for o in objects] == [
        ("two", "v-two", "champion"),
        ("one", "v-one", ""),
    ]
    assert run("rollback")[:2] == (0, "artifacts/champion is one\n")
    past = run("list", "--history")[1].splitlines()
    assert [line.split()[2] for line in past[1:]] == ["rollback", "promote", "promote"]
    assert "better" in past[2]
    told = [json.loads(line) for line in run("list", "--history", "--json")[1].splitlines()]
    assert [change["champion"] for change in told] == ["one", "two", "one"]
    assert run("rollback", "v-two")[:2] == (0, "artifacts/champion is two\n")


def test_what_speaks_against_a_new_champion_is_said(run: Run) -> None:
    manifest = Path("artifacts/two") / artifact.MANIFEST
    said = json.loads(manifest.read_text())
    said["metrics"] = {"test_recall": 0.0, "test_false_positive_rate": 0.06}
    manifest.write_text(json.dumps(said))
    code, out, err = run("promote", "two")
    assert (code, out) == (0, "artifacts/champion is two\n")
    assert err.startswith(
        "warning: in its own test split two finds 0.0% of the spam and blocks 6.0% of the ham: "
    )
    assert run("promote", "one")[2] == ""


def test_show_puts_artifacts_side_by_side_and_prints_the_card_of_one(run: Run) -> None:
    code, _, err = run("show")
    assert (code, err.count("\n")) == (1, 1)
    assert "neither a champion nor a challenger" in err
    starter = artifact.load().manifest
    out = run("show", "starter", "one")[1].splitlines()
    assert out[0].split() == [starter.version, "v-one"]
    (measure,) = (line for line in out if line.startswith("test f1"))
    assert measure.split() == ["test", "f1", f"{starter.metrics['test_f1']:.4f}", "–"]
    assert run("promote", "starter")[0] == 0
    shown = run("show", "champion")[1]
    assert f"# {starter.version}" in shown
    assert (Path("artifacts/champion") / "report" / "evaluation.json").is_file()


def folders() -> set[str]:
    found = Path("artifacts").glob("[a-z]*")
    return {path.name for path in found if path.is_dir() and not path.is_symlink()}


def test_prune(run: Run) -> None:
    for name in ("three", "four", "five"):
        tiny_artifact(Path("artifacts") / name, version=f"v-{name}", seed=5)
    run("promote", "one")
    code, out, _ = run("prune", "--keep", "1", "--dry-run")
    assert code == 0
    assert all(line.startswith("would remove ") for line in out.splitlines())
    assert len(folders()) == 5
    assert run("prune", "--keep", "1")[1] == out.replace("would remove", "removed")
    assert run("prune", "--keep", "1")[1] == "nothing to remove\n"
    assert "one" in folders()
    assert len(folders()) == 5 - len(out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("promote", "nobody"), 1, "no artifact at nobody, nor in artifacts"),
        (("rollback",), 1, "no champion before this one"),
        (("rollback", "one"), 2, "was never champion"),
        (("list", "--artifacts", "nowhere"), 1, "no registry at nowhere"),
        (("promote", "one", "--after-shadow"), 1, "no champion to agree with"),
        (("promote", "one", "--after-shadow", "--why", "agreed"), 1, "no champion to agree with"),
        (("retrain",), 1, "FILTERD_REDIS_URL"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.setenv("FILTERD_REDIS_URL", "redis://127.0.0.1:1/0")
    ended, out, err = run(*arguments)
    assert (ended, out) == (code, "")
    assert says in err
    assert err.count("\n") == 1
