"""The artifact: what is whole is loaded, everything else is refused in one line."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save

from filterd.artifact import MANIFEST, VOCABULARY, WEIGHTS, load, sha256
from filterd.errors import ArtifactError
from filterd.packing import pack
from filterd.tokenizer import Tokenizer
from tests.artifacts import CONFIG, tiny_artifact


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny artifact, to damage."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(ArtifactError, match=match) as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) == 1


def alter(folder: Path, **changes: object) -> None:
    """Change the manifest; None removes."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for name, value in changes.items():
        manifest[name] = value
        if value is None:
            del manifest[name]
    (folder / MANIFEST).write_text(json.dumps(manifest))


def alter_model(folder: Path, **changes: object) -> None:
    model = json.loads((folder / MANIFEST).read_text())["model"]
    alter(folder, model=model | changes)


def replace(folder: Path, name: str, data: bytes) -> None:
    """Put another file in place, with its right checksum."""
    (folder / name).write_bytes(data)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    alter(folder, files=files | {name: sha256(data)})


def replace_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_safetensors((folder / WEIGHTS).read_bytes())
    change(weights)
    replace(folder, WEIGHTS, save(weights))


def test_whole_artifact_is_loaded(tiny: Path) -> None:
    artifact = load(tiny)
    assert artifact.manifest.version == "tiny-1"
    assert artifact.manifest.model == CONFIG
    assert artifact.tokenizer.vocab_size == 257
    model = artifact.build_model()
    assert not model.training
    assert model(pack([[1, 2, 256]])).shape == (1, 2)


def test_same_weights_load_in_half_precision(folder: Path) -> None:
    plain = load(folder).build_model()

    def halve(weights: dict[str, torch.Tensor]) -> None:
        weights.update({name: weight.bfloat16() for name, weight in weights.items()})

    replace_weights(folder, halve)
    halved = load(folder).build_model()
    assert halved.wte.weight.dtype == torch.float32
    assert torch.allclose(plain.wte.weight, halved.wte.weight, rtol=0.01)


def test_starter_is_whole() -> None:
    artifact = load()
    for name, checksum in artifact.manifest.files.items():
        assert sha256((artifact.path / name).read_bytes()) == checksum, name


def test_link_to_an_artifact_is_followed_once(tiny: Path, tmp_path: Path) -> None:
    champion = tmp_path / "champion"
    champion.symlink_to(tiny)
    assert load(champion).path == tiny.resolve()


def test_missing_folder_and_missing_manifest(tiny: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "no artifact at .*nowhere")
    refused(tiny / WEIGHTS, "no artifact at")
    refused(tmp_path, f"it has no {MANIFEST}")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"format": 1,}'])
def test_broken_manifest(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    refused(folder, f"{MANIFEST} cannot be read")


@pytest.mark.parametrize("content", [b"[]", b"null", b"1", b"{}", b'{"format": "1"}'])
def test_manifest_of_another_kind(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    refused(folder, "this version reads 1")


def test_wrong_format_is_named(folder: Path) -> None:
    alter(folder, format=2)
    refused(folder, "has format 2, this version reads 1")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"surprise": 1}, "surprise"),
        ({"version": "../up"}, "version"),
        ({"version": None}, "version"),
        ({"labels": ["spam", "ham"]}, "labels"),
        ({"pooling": "mean"}, "pooling"),
        ({"max_length": 1}, "max_length"),
        ({"threshold": 1.5}, "threshold"),
        ({"temperature": 0}, "temperature"),
        ({"files": [1]}, "files"),
    ],
)
def test_field_that_does_not_fit_is_named(
    folder: Path, changes: dict[str, object], where: str
) -> None:
    alter(folder, **changes)
    refused(folder, rf"{MANIFEST}: {where}")


@pytest.mark.parametrize(
    "changes", [{"n_head": 3}, {"n_layer": 0}, {"family": "gpt9"}, {"n_embd": "wide"}]
)
def test_model_that_cannot_be_built_is_refused(folder: Path, changes: dict[str, object]) -> None:
    alter_model(folder, **changes)
    refused(folder, rf"{MANIFEST}: model")


@pytest.mark.parametrize("name", [WEIGHTS, VOCABULARY])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_changed_byte_is_found(folder: Path, name: str, place: float) -> None:
    data = bytearray((folder / name).read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    (folder / name).write_bytes(data)
    refused(folder, f"{name} is damaged")


@pytest.mark.parametrize("name", [WEIGHTS, VOCABULARY])
def test_truncated_file_is_found(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-1])
    refused(folder, f"{name} is damaged")


@pytest.mark.parametrize("name", [WEIGHTS, VOCABULARY])
def test_missing_file_and_missing_checksum(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused(folder, f"{name} cannot be read: No such file")
    alter(folder, files={})
    refused(folder, "has no checksum of")


@pytest.mark.parametrize("keep", [0, 4, 100, -4])
def test_truncated_weights_with_their_right_checksum(folder: Path, keep: int) -> None:
    replace(folder, WEIGHTS, (folder / WEIGHTS).read_bytes()[:keep])
    refused(folder, "is not a safetensors file")


class Bomb:
    """What a hostile pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("the pickle was loaded",)


def test_pickle_is_never_loaded(folder: Path) -> None:
    replace(folder, WEIGHTS, pickle.dumps(Bomb()))
    refused(folder, "is not a safetensors file")


def test_weights_of_another_shape(folder: Path) -> None:
    replace_weights(folder, lambda weights: weights.update({"head.weight": torch.zeros(3, 16)}))
    refused(folder, r"head\.weight is \[3, 16\], not \[2, 16\]")


def test_missing_and_unknown_weights(folder: Path) -> None:
    replace_weights(folder, lambda weights: weights.pop("ln_f.bias"))
    refused(folder, r"missing: ln_f\.bias")
    replace_weights(
        folder, lambda weights: weights.update({"ln_f.bias": torch.zeros(16), "a": torch.zeros(1)})
    )
    refused(folder, "unknown: a")


def test_vocabulary_of_another_size(folder: Path) -> None:
    tokenizer = Tokenizer({bytes([byte]): byte for byte in range(256)} | {b"the": 256})
    replace(folder, VOCABULARY, tokenizer.to_bytes())
    refused(folder, "the vocabulary has 258 tokens, the model 257")


def test_damaged_vocabulary_with_its_right_checksum(folder: Path) -> None:
    replace(folder, VOCABULARY, b"not base64\n")
    refused(folder, "line 1 is damaged")


def test_length_above_the_positions(folder: Path) -> None:
    alter(folder, max_length=33)
    refused(folder, "max_length 33 is above n_positions 32")


def test_refusal_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tiny_artifact(tmp_path / "tiny")
    before = sorted(path.iterdir())
    alter(path, max_length=33)
    refused(path, "max_length")
    alter(path, max_length=32)
    load(path)
    assert sorted(path.iterdir()) == before


@pytest.mark.parametrize("pattern", ["(unclosed", "", r"(a+)+$", "\ud800", "\x00"])
def test_a_pattern_that_may_fail_on_a_message(folder: Path, pattern: str) -> None:
    alter(folder, pattern=pattern)
    refused(folder, "pattern")


def test_a_temperature_without_end(folder: Path) -> None:
    alter(folder, temperature=float("inf"))
    refused(folder, "temperature")


def test_weights_that_are_not_finite(folder: Path) -> None:
    weights = load_safetensors((folder / WEIGHTS).read_bytes())
    weights["head.bias"][0] = float("nan")
    data = save(weights)
    (folder / WEIGHTS).write_bytes(data)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    alter(folder, files=files | {WEIGHTS: sha256(data)})
    refused(folder, "head.bias holds values that are not finite")


def test_loading_does_not_import_torchs_compiler(tiny: Path) -> None:
    """It takes seconds, which a daemon's start would pay."""
    code = (
        "import sys; from filterd.classifier import Classifier; "
        f"Classifier.load({str(tiny)!r}, device='cpu').engine.warm_up(); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
