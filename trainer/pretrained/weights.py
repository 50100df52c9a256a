"""What every form of checkpoint goes through: files read without running anything, all checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from filterd.errors import ArtifactError
from filterd.model import ModelConfig, SpamModel

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
NAMED = 4
"""Tensors that an error names before it only counts."""

Fields = TypeVar("Fields", bound=BaseModel)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ArtifactError where the file is missing or something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not JSON: fetch it again") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} is not a JSON object: fetch it again")
    return value


def parse(kind: type[Fields], values: Mapping[str, Any], where: str) -> Fields:
    """A configuration's fields. Raises ArtifactError naming the first that cannot be served."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise ArtifactError(f"{where}: {field}: {first['msg']}") from error


def model_config(where: str, **fields: Any) -> ModelConfig:
    """A model's shape. Raises ArtifactError where its sizes do not fit each other."""
    try:
        return ModelConfig(**fields)
    except ValueError as error:
        raise ArtifactError(f"{where}: {error}") from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a Hugging Face folder, one or the shards of its index.

    Raises ArtifactError where there are none, or the index names files elsewhere.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        raise ArtifactError(
            f"{folder} holds no {WEIGHTS}: give a folder that does "
            "(a pytorch_model.bin is a pickle and is not read)"
        )
    shards = read_json(folder / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ArtifactError(f"{folder / INDEX} lacks its weight_map: fetch it again")
    names = sorted({str(name) for name in shards.values()})
    if any(Path(name).name != name for name in names):
        raise ArtifactError(f"{folder / INDEX} names files outside its folder")
    return [folder / name for name in names]


def read_safetensors(files: Iterable[Path]) -> dict[str, Tensor]:
    """All tensors of the files. Raises ArtifactError where one is damaged or comes twice."""
    tensors: dict[str, Tensor] = {}
    for path in files:
        try:
            found = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ArtifactError(f"{path} cannot be read, fetch it again: {error}") from error
        if twice := tensors.keys() & found.keys():
            raise ArtifactError(f"{path} repeats {_some(twice)}")
        tensors |= found
    return tensors


def stripped(tensors: Mapping[str, Tensor], prefix: str, heads: Iterable[str]) -> dict[str, Tensor]:
    """The tensors without a prefix that some checkpoints have, and without their heads."""
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix(prefix)
        if plain in named:
            raise ArtifactError(f"the checkpoint holds {plain} with and without {prefix!r}")
        named[plain] = tensor
    return {name: tensor for name, tensor in named.items() if name not in set(heads)}


def checked(config: ModelConfig, weights: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The weights in fp32, every one of the backbone and no other.

    Raises ArtifactError naming what is missing, extra, of another shape or not finite.
    """
    if config.n_layer > len(weights):  # a damaged number would make blocks without end
        raise ArtifactError(f"{where} lacks most of the {config.n_layer} blocks that it announces")
    with torch.device("meta"):
        model = SpamModel(config)
    expected = {
        name: tuple(parameter.shape)
        for name, parameter in model.state_dict().items()
        if not name.startswith("head.")
    }
    if missing := expected.keys() - weights.keys():
        raise ArtifactError(f"{where} lacks {_some(missing)}")
    if extra := weights.keys() - expected.keys():
        raise ArtifactError(f"{where} holds what a {config.family} has not: {_some(extra)}")
    for name, shape in expected.items():
        if tuple(weights[name].shape) != shape:
            raise ArtifactError(
                f"{where}: {name} (outputs first) is {tuple(weights[name].shape)}, not {shape}"
            )
    single = {name: weights[name].to(torch.float32).contiguous() for name in expected}
    if broken := [name for name, tensor in single.items() if not tensor.isfinite().all()]:
        raise ArtifactError(f"{where}: not every number is finite in {_some(broken)}")
    return single


def digest(files: Iterable[Path]) -> str:
    """The sha256 of a file; of several, each after its name."""
    sums = {}
    for path in files:
        with path.open("rb") as stream:
            sums[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    if len(sums) == 1:
        return next(iter(sums.values()))
    return ", ".join(f"{name}: {value}" for name, value in sums.items())


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    rest = f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else ""
    return ", ".join(ordered[:NAMED]) + rest
