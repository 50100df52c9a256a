"""Hostile artifacts: each scores as it should, or is refused in one line; none is believed."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load as load_safetensors
from safetensors.torch import save

from filterd import artifact
from filterd.artifact import MANIFEST, VOCABULARY, WEIGHTS, sha256
from filterd.engine import Engine
from filterd.errors import ArtifactError

Change = Callable[[Path], object]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
EXTREME = st.sampled_from(
    [0, -1, 2**31, 2**63, 10**30, 10**400, math.nan, math.inf, -math.inf, 5e-324, 1e308, "\ud800"]
)
FIELDS = st.sampled_from(sorted(artifact.Manifest.model_fields))
SIZES = st.sampled_from(
    ["vocab_size", "n_positions", "n_layer", "n_head", "n_embd", "n_kv_head", "n_inner"]
)
SHAPE = SIZES | st.sampled_from(["family", "norm_epsilon", "rope_theta", "surprise"])
many = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny artifact, to spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def refused(folder: Path) -> bool:
    """Whether it is: in one printable line; else its scores must be numbers."""
    try:
        loaded = artifact.load(folder)
        engine = Engine(loaded, max_batch_tokens=64)
        engine.warm_up()
    except ArtifactError as error:
        said = str(error)
        assert said.isprintable() and said  # noqa: PT018
        return True
    assert all(0 <= score <= 1 for score in engine.score_texts(["hello", "", "x" * 99]))
    return False


@contextmanager
def spoilt(tiny: Path) -> Iterator[Path]:
    """A copy for one example of a property."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(shutil.copytree(tiny, Path(name) / "copy"))


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return content


def rewrite(folder: Path, content: object) -> None:
    (folder / MANIFEST).write_text(json.dumps(content))


def put(folder: Path, name: str, data: bytes) -> None:
    """Another file, with its right checksum: whoever made this artifact meant it so."""
    (folder / name).write_bytes(data)
    content = manifest(folder)
    content["files"][name] = sha256(data)
    rewrite(folder, content)


@many
@given(FIELDS, JSON | EXTREME)
def test_any_value_in_any_field(tiny: Path, field: str, value: object) -> None:
    with spoilt(tiny) as folder:
        rewrite(folder, manifest(folder) | {field: value})
        refused(folder)


@many
@given(SHAPE, JSON | EXTREME | st.integers(-2, 5000))
def test_any_value_in_the_shape(tiny: Path, field: str, value: object) -> None:
    with spoilt(tiny) as folder:
        content = manifest(folder)
        rewrite(folder, content | {"model": content["model"] | {field: value}})
        refused(folder)


@many
@given(JSON | st.dictionaries(FIELDS, JSON))
def test_any_manifest(tiny: Path, content: object) -> None:
    with spoilt(tiny) as folder:
        rewrite(folder, content)
        assert refused(folder)


@many
@given(st.sampled_from([MANIFEST, VOCABULARY, WEIGHTS]), st.data())
def test_flipped_and_cut_bytes_under_their_right_checksum(
    tiny: Path, name: str, data: st.DataObject
) -> None:
    content = bytearray((tiny / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content), 4096) - 1))
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    with spoilt(tiny) as folder:
        if name == MANIFEST:
            (folder / name).write_bytes(content[:cut])
        else:
            put(folder, name, bytes(content[:cut]))
        refused(folder)


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str, shape: list[int], size: int) -> bytes:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}
    return safetensors({"head.weight": entry}, bytes(size))


def swap(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes(), (folder / VOCABULARY).read_bytes()
    put(folder, VOCABULARY, data[0])
    put(folder, WEIGHTS, data[1])


def link(target: str, name: str = WEIGHTS) -> Change:
    def change(folder: Path) -> None:
        kept = folder.parent / "outside"
        kept.mkdir()
        (folder / name).rename(kept / name)
        (folder / name).symlink_to(target or kept / name)

    return change


def path_trick(folder: Path) -> None:
    """The manifest names other files; only the two known names are ever opened."""
    content = manifest(folder)
    content["files"] = {f"../{name}": sum_ for name, sum_ in content["files"].items()}
    rewrite(folder, content)


def pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def sparse(name: str) -> Change:
    return lambda folder: os.truncate(folder / name, 2**37)


def weights(**changes: torch.Tensor) -> Change:
    def change(folder: Path) -> None:
        named = {name.replace("_", "."): value for name, value in changes.items()}
        put(folder, WEIGHTS, save(load_safetensors((folder / WEIGHTS).read_bytes()) | named))

    return change


def pickled() -> bytes:
    file = io.BytesIO()
    torch.save({"head.weight": torch.zeros(2, 16)}, file)
    return file.getvalue()


class Bomb:
    """What a hostile pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("the pickle was loaded",)


HOSTILE: dict[str, Change] = {
    "nested arrays": lambda folder: (folder / MANIFEST).write_text("[" * 200_000),
    "nested objects": lambda folder: (folder / MANIFEST).write_text(
        '{"format": 1, "recipe": ' + '{"a":' * 100_000 + "1" + "}" * 100_001
    ),
    "thousands of digits": lambda folder: (folder / MANIFEST).write_text(
        '{"format": 1' + "0" * 9999 + "}"
    ),
    "a name of two lines": lambda folder: rewrite(folder, manifest(folder) | {"a\nb\x1b[2J": 1}),
    "no checksum of what is read": path_trick,
    "swapped files": swap,
    "a link out of the folder": link(""),
    "a link to a device": link("/dev/zero"),
    "a vocabulary that is a link": link("/etc/passwd", VOCABULARY),
    "a manifest that is a link": link("", MANIFEST),
    "a link to itself": lambda folder: link(str(folder / WEIGHTS))(folder),
    "a pipe for weights": pipe(WEIGHTS),
    "a pipe for a manifest": pipe(MANIFEST),
    "an endless manifest": sparse(MANIFEST),
    "endless weights": sparse(WEIGHTS),
    "a pickle": lambda folder: put(folder, WEIGHTS, pickle.dumps(Bomb())),
    "torch's own pickle": lambda folder: put(folder, WEIGHTS, pickled()),
    "a header beyond the file": lambda folder: put(
        folder, WEIGHTS, struct.pack("<Q", 2**63) + b"{}"
    ),
    "a shape that overflows": lambda folder: put(folder, WEIGHTS, tensor("F32", [2**62, 2**62], 0)),
    "a type of four bits": lambda folder: put(folder, WEIGHTS, tensor("F4", [2], 1)),
    "a type unknown to torch": lambda folder: put(folder, WEIGHTS, tensor("F8_E8M0", [1], 1)),
    "no weights": lambda folder: put(folder, WEIGHTS, safetensors({})),
    "whole numbers": weights(head_weight=torch.ones(2, 16, dtype=torch.int64)),
    "eight bits": weights(head_weight=torch.ones(2, 16).to(torch.float8_e4m3fn)),
    "complex numbers": weights(head_weight=torch.ones(2, 16, dtype=torch.complex64)),
    "weights that overflow": weights(head_weight=torch.full((2, 16), 3e38)),
    "a weight of two lines": weights(**{"a\nb": torch.zeros(1)}),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_hostile_is_refused_in_one_line(folder: Path, change: Change) -> None:
    change(folder)
    assert refused(folder)


def test_links_inside_the_folder_are_followed(folder: Path) -> None:
    """As a volume of Kubernetes has them."""
    (folder / "..data").mkdir()
    for name in (MANIFEST, WEIGHTS, VOCABULARY):
        (folder / name).rename(folder / "..data" / name)
        (folder / name).symlink_to(Path("..data") / name)
    assert not refused(folder)


def test_an_untouched_artifact_is_served(folder: Path) -> None:
    assert not refused(folder)
