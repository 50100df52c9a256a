"""The registry: links that follow a history, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from filterd import artifact
from filterd.errors import ArtifactError, SettingsError
from tests.artifacts import tiny_artifact
from tests.killed import Reached, killed_at, steps_of
from tests.trainer.runs import environment
from trainer import durable
from trainer.history import reigns
from trainer.pruning import prune
from trainer.registry import WORK
from trainer.retraining.turn import LOCK
from trainer.succession import HISTORY, RUNS, Registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Three artifacts, a being the champion since before b was."""
    for seed, name in enumerate("abc"):
        tiny_artifact(tmp_path / name, version=name, seed=seed)
    made = Registry(tmp_path)
    made.promote("b", "the first")
    made.promote("a", "better")
    return made


def links(registry: Registry) -> tuple[str, str]:
    return registry.linked("champion"), registry.linked("challenger")


def test_promoted_kept_and_rolled_back(registry: Registry) -> None:
    registry.keep("c", "not better")
    assert links(registry) == ("a", "c")
    assert artifact.load(registry.folder / "champion").manifest.version == "a"
    registry.promote("c", "after all")
    assert links(registry) == ("c", "")
    assert registry.roll_back(None, "it blocks too much").champion == "a"
    assert registry.roll_back(None, "still").champion == "b"
    with pytest.raises(ArtifactError, match="no champion before"):
        registry.roll_back(None, "")
    assert registry.roll_back("c", "it was best").champion == "c"
    assert [change.action for change in registry.history()] == [
        *("promote", "promote", "keep", "promote", "rollback", "rollback", "rollback"),
    ]
    assert registry.history()[-1].why == "it was best"
    assert links(registry) == ("c", "")


def test_only_who_was_champion_comes_back(registry: Registry) -> None:
    with pytest.raises(SettingsError, match="c was never champion"):
        registry.roll_back("c", "")
    with pytest.raises(SettingsError, match="a is the champion already"):
        registry.roll_back("a", "")


def test_what_a_daemon_would_refuse_is_not_promoted(registry: Registry) -> None:
    weights = registry.folder / "c" / artifact.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="damaged"):
        registry.promote("c", "")
    (registry.folder / "b" / artifact.VOCABULARY).unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        registry.roll_back(None, "")
    assert links(registry) == ("a", "")
    assert len(registry.history()) == 2


def test_found_by_link_folder_version_and_path(registry: Registry, tmp_path: Path) -> None:
    other = tiny_artifact(tmp_path / "else" / "where", version="d", seed=9)
    for word in ("champion", "a", str(tmp_path / "a")):
        assert registry.find(word) == registry.folder / "a"
    assert registry.find("starter") == artifact.STARTER
    with pytest.raises(ArtifactError, match="no artifact at nowhere"):
        registry.find("nowhere")
    assert registry.bring(other) == registry.bring(other) == "d"
    assert artifact.load(registry.folder / "d").manifest.version == "d"


def test_links_moved_by_hand_are_noticed_and_left(registry: Registry) -> None:
    durable.point(registry.folder / "champion", "c")
    registry.keep("b", "")
    assert links(registry) == ("c", "b")
    assert [change.action for change in registry.history()][-2:] == ["found", "keep"]
    assert registry.roll_back(None, "").champion == "a"


def test_a_folder_in_a_links_place_is_refused(registry: Registry) -> None:
    (registry.folder / "challenger").mkdir()
    with pytest.raises(ArtifactError, match="is no link"):
        registry.keep("b", "")
    assert len(registry.history()) == 2


def test_pruning_leaves_what_is_linked_and_the_last_champions(registry: Registry) -> None:
    for seed, name in enumerate(("d", "e", "f"), start=3):
        tiny_artifact(registry.folder / name, version=name, seed=seed)
    registry.keep("c", "")
    assert prune(registry, 1, dry_run=True) == ["e", "d", "b"]
    assert prune(registry, 2) == ["d"]
    assert prune(registry, 1) == ["e", "b"]
    assert sorted(entry.name for entry in registry.entries()) == ["a", "c", "f"]
    assert not list(registry.folder.glob(".trash*"))


def test_pruning_removes_features_and_checkpoints_of_yesterday(registry: Registry) -> None:
    work = registry.folder / WORK
    work.mkdir()
    for name in ("old.f32", "run-old.pt", "new.f32"):
        (work / name).write_bytes(b"rows")
    for name in ("old.f32", "run-old.pt"):
        os.utime(work / name, (0, 0))
    prune(registry, 5)
    assert [path.name for path in work.iterdir()] == ["new.f32"]


def test_pruning_removes_reports_before_the_last_but_none_that_is_to_come(
    registry: Registry,
) -> None:
    runs = registry.folder / RUNS
    for name in ("00001", "00002", "00004", "00009"):
        (runs / name).mkdir(parents=True)
        (runs / name / "words.jsonl").touch()
    registry.keep("c", "")
    assert prune(registry, 2) == []  # no retraining has come to an outcome yet
    for name in ("00001", "00002", "00004"):
        registry.keep("c", "", run={"report": name, "cursor": "0-0", "token": int(name)})
    assert prune(registry, 1, dry_run=True) == ["b", "runs/00001", "runs/00002"]
    assert prune(registry, 2) == ["runs/00001"]
    assert sorted(path.name for path in runs.iterdir()) == ["00002", "00004", "00009"]


def test_pruning_removes_what_an_interrupted_retraining_left_unless_one_is_running(
    registry: Registry,
) -> None:
    left = [registry.private / RUNS / "00001", registry.private / "work"]
    for folder in left:
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
    with durable.locked(registry.private / LOCK):
        prune(registry, 1)
    assert all(folder.exists() for folder in left)
    prune(registry, 1)
    assert not any(folder.exists() for folder in left)


@pytest.mark.parametrize("name", ["../planted", "/etc/hostname", "report/link"])
def test_an_artifact_from_elsewhere_brings_no_file_that_is_not_its_own(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.mktemp("elsewhere") / "x"
    tiny_artifact(folder, version="x", seed=9)
    (folder.parent / "planted").write_text("planted")
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report" / "link").symlink_to(folder.parent / "planted")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = artifact.sha256(b"planted")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="cannot be read"):
        registry.bring(folder)
    assert not (registry.folder / "x").exists()
    assert not (registry.folder / "planted").exists()


def test_an_artifact_from_elsewhere_is_whole(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("elsewhere") / "x"
    tiny_artifact(folder, version="x", seed=9)
    (folder / "README.md").write_text("a card")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["README.md"] = artifact.sha256(b"another card")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"README\.md is damaged"):
        registry.bring(folder)


def test_one_that_cannot_be_read_hides_no_other(registry: Registry) -> None:
    (registry.folder / "newer").mkdir()
    (registry.folder / "newer" / "manifest.json").write_text('{"format": 99}')
    found, refused = registry.sorted_out()
    assert sorted(entry.name for entry in found) == ["a", "b", "c"]
    assert [line for line in refused if "has format 99" in line] == refused != []
    assert registry.find("starter") == artifact.STARTER
    assert "newer" not in prune(registry, 1)


def test_a_reason_may_hold_any_character(registry: Registry) -> None:
    why = "a\u2028b\u0085c\rd \udcff ß"
    registry.promote("c", why)
    assert registry.history()[-1].why == why
    assert registry.roll_back(None, "").champion == "a"


def test_a_torn_line_is_no_line(registry: Registry) -> None:
    with (registry.folder / HISTORY).open("a") as file:
        file.write('{"number": 3, "at": "2026')
    assert len(registry.history()) == 2
    registry.keep("c", "")
    assert registry.history()[-1].number == 3
    (registry.folder / HISTORY).write_text('{"number": 7}\n')
    with pytest.raises(ArtifactError, match="line 1 is damaged"):
        registry.history()


def test_reigns_after_a_rollback(registry: Registry) -> None:
    assert reigns(registry.history()) == ["b", "a"]
    registry.roll_back(None, "")
    assert reigns(registry.history()) == ["b"]


def test_two_at_once_take_turns(registry: Registry) -> None:
    code = (
        "import sys, pathlib; from trainer.succession import Registry\n"
        "for _ in range(10): Registry(pathlib.Path(sys.argv[1])).keep(sys.argv[2], 'mine')"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, registry.folder, name], env=environment())
        for name in "bc"
    ]
    assert [process.wait(100) for process in both] == [0, 0]
    changes = registry.history()
    assert [change.number for change in changes] == list(range(1, 23))
    assert links(registry) == (changes[-1].champion, changes[-1].challenger)


def test_killed_at_any_step_it_is_consistent(registry: Registry) -> None:
    """In a process of its own: this one has threads, and would not fork safely."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.trainer.test_succession", registry.folder],
        env=environment(),
        timeout=100,
    )
    assert ended.returncode == 0


def _kill_at_every_step(folder: Path) -> None:
    template = folder / "a"
    outside = folder.parent / "outside"

    def change(root: Path, reached: Reached) -> None:
        made = Registry(root, reached)
        made.promote(made.bring(outside), "new")

    shutil.copytree(template, outside)
    manifest = json.loads((outside / "manifest.json").read_text())
    (outside / "manifest.json").write_text(json.dumps({**manifest, "version": "new"}))
    trial = folder.parent / "trial"
    shutil.copytree(folder, trial, symlinks=True)
    steps = steps_of(lambda reached: change(trial, reached))
    assert steps == ["decided", "written", "champion linked", "challenger linked", "followed"]
    for number, step in enumerate(steps):
        root = folder.parent / f"killed-{number}"
        shutil.copytree(folder, root, symlinks=True)
        assert killed_at(number, lambda reached, root=root: change(root, reached))  # type: ignore[misc]
        served = artifact.load(root / "champion").manifest.version
        assert served == ("a" if step in ("decided", "written") else "new")
        after = Registry(root).keep("c", "go on")
        assert after.champion == ("a" if step == "decided" else "new")
        assert links(Registry(root)) == (after.champion, "c")
        assert (root / "champion").readlink() == Path(after.champion)


if __name__ == "__main__":
    _kill_at_every_step(Path(sys.argv[1]))
