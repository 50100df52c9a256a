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
from tests.trainer.runs import tiny
from trainer import registry
from trainer.backbone import Start
from trainer.course import Trained
from trainer.distributed import ALONE
from trainer.fitting import Fitting

CONFIG = ModelConfig(257, 16, 1, 1, 8)
TOKENIZER = Tokenizer({bytes([byte]): byte for byte in range(256)})


def made(seed: int = 0, threshold: float = 0.5, **fields: object) -> Artifact:
    model = SpamModel(CONFIG)
    model.initialise(torch.Generator().manual_seed(seed))
    start = Start(CONFIG, TOKENIZER)
    fitting = Fitting(tiny(**fields), start, 16, Path(), ALONE, lambda _: None)
    return registry.draft(fitting, Trained(model.state_dict(), (), 1), 1.0, threshold)


def test_written_and_loaded(tmp_path: Path) -> None:
    wanted, target = made(), tmp_path / "deep" / "one"
    registry.write(wanted, {"README.md": b"card", "report/a.png": b"plot"}, target)
    loaded = artifact.load(target)
    assert loaded.manifest.version == wanted.manifest.version
    assert loaded.manifest.version.startswith("tiny-")
    assert loaded.manifest.recipe["n_layer"] == 2
    assert loaded.manifest.libraries["torch"] == torch.__version__
    for name, checksum in loaded.manifest.files.items():
        assert artifact.sha256((target / name).read_bytes()) == checksum
    names = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert names == {*loaded.manifest.files, artifact.MANIFEST}
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o755


def test_the_version_is_the_contents() -> None:
    one = made()
    assert made().manifest.version == one.manifest.version
    assert made(seed=1).manifest.version != one.manifest.version
    for change in (
        {"threshold": 0.6},
        {"temperature": 1.1},
        {"max_length": 8},
        {"pooling": "padded-last"},
        {"normalization": "confusables"},
        {"pattern": r"\S+|\s+"},
    ):
        assert registry.content_version(registry.changed(one, **change)) != one.manifest.version
    assert registry.content_version(registry.changed(one, metrics={"a": 1.0})) == (
        one.manifest.version
    )


def test_the_backbone_in_a_line() -> None:
    start = Start(CONFIG, TOKENIZER)
    assert registry.describe(start) == "gpt2, 1 blocks of width 8, from random weights"
    origin = {"name": "SmolLM2"}
    tokens = Start(CONFIG, TOKENIZER, table=torch.zeros(257, 9), origin=origin)
    assert registry.describe(tokens) == "gpt2, 1 blocks of width 8, token embedding of SmolLM2"
    whole = Start(CONFIG, TOKENIZER, {"ln_f.weight": torch.zeros(8)}, origin=origin)
    assert registry.describe(whole).endswith("width 8, SmolLM2")


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
