"""Artifacts appear whole or not at all, and never change."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from filterd import artifact
from filterd.artifact import Artifact
from filterd.errors import ArtifactError
from filterd.model import ModelConfig, SpamModel
from filterd.tokenizer import Tokenizer
from trainer import recipe as recipes
from trainer import registry


def made(seed: int = 0) -> Artifact:
    config = ModelConfig(257, 16, 1, 1, 8)
    model = SpamModel(config)
    model.initialise(torch.Generator().manual_seed(seed))
    tokenizer = Tokenizer({bytes([byte]): byte for byte in range(256)})
    drafted = registry.draft(recipes.load("starter"), config, tokenizer, model.state_dict())
    return registry.changed(drafted, version=registry.content_version(drafted))


def test_written_and_loaded(tmp_path: Path) -> None:
    wanted, target = made(), tmp_path / "deep" / "one"
    registry.write(wanted, {"README.md": b"card", "report/a.png": b"plot"}, target)
    loaded = artifact.load(target)
    assert loaded.manifest.version == wanted.manifest.version
    assert loaded.manifest.version.startswith("starter-")
    assert loaded.manifest.recipe["n_layer"] == 3
    for name, checksum in loaded.manifest.files.items():
        assert artifact.sha256((target / name).read_bytes()) == checksum
    names = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert names == {*loaded.manifest.files, artifact.MANIFEST}
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o755


def test_the_version_is_the_contents() -> None:
    one = made()
    assert registry.content_version(one) == made().manifest.version
    assert made(seed=1).manifest.version != one.manifest.version
    for change in ({"threshold": 0.6}, {"temperature": 1.1}):
        assert registry.content_version(registry.changed(one, **change)) != one.manifest.version
    assert registry.content_version(registry.changed(one, metrics={"a": 1.0})) == (
        one.manifest.version
    )


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_never_overwrites(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "one"
    if kind == "folder":
        target.mkdir()
    elif kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to("nowhere")
    with pytest.raises(ArtifactError, match="exists, and artifacts are never changed"):
        registry.write(made(), {}, target)
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        registry.write(made(), {}, tmp_path / "one")
    assert list(tmp_path.iterdir()) == []
