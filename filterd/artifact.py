"""The artifact: an immutable directory that holds all that serving needs.

``manifest.json`` describes it and carries the sha256 of every other file; nothing in it is ever
unpickled. The trainer writes artifacts (``trainer/registry.py``); this file reads and verifies.
"""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from filterd.errors import ArtifactError
from filterd.model import LARGEST, ModelConfig, SpamModel
from filterd.normalizer import Normalization
from filterd.tokenizer import GPT2_PATTERN, PATTERNS, Tokenizer

FORMAT = 1
MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"
FAST = "fast"
"""The folder inside a cascade's artifact that holds its first stage."""
VOCABULARY = "vocab.tiktoken"
EVALUATION = "report/evaluation.json"
STARTER = Path(__file__).parent / "starter"
LABELS = ("ham", "spam")

MANIFEST_BYTES = 16_777_216
WEIGHTS_BYTES = 68_719_476_736
VOCABULARY_BYTES = 268_435_456
"""Larger files are refused unread."""

FLOATS = frozenset({torch.float32, torch.float16, torch.bfloat16})

MOST_DIFFERENCE = 0.02
LEAST_EQUAL = 0.999
"""What a coarser precision may change: a score by so much, and one label in a thousand."""

Share = Annotated[float, Field(ge=0, le=1)]


class Agreement(BaseModel):
    """How near a coarser precision comes to fp32, and over how many messages that was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_difference: Share
    labels_equal: Share
    messages: int = Field(ge=1)

    @property
    def near(self) -> bool:
        """Whether the artifact may run so."""
        return self.max_difference <= MOST_DIFFERENCE and self.labels_equal >= LEAST_EQUAL


class Band(BaseModel):
    """Of a cascade: the fast stage answers alone what it scores below ``low`` or from ``high`` on.

    high: above 1 where it is never sure of spam · fast: its version · measures: of the messages
    that the band was fitted on, and of others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fast: str
    low: Share
    high: float = Field(ge=0, allow_inf_nan=False)
    measures: dict[str, float] = {}


class Manifest(BaseModel):
    """``manifest.json``: what the artifact is, how it was made and how it must be read."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format: Literal[1] = 1
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    created_at: str
    backbone: str
    model: ModelConfig
    pattern: str = GPT2_PATTERN
    normalization: Normalization = "none"
    labels: tuple[Literal["ham"], Literal["spam"]] = ("ham", "spam")
    pooling: Literal["last", "padded-last"] = "last"
    max_length: int = Field(ge=2, le=LARGEST)
    threshold: Share = 0.5
    temperature: float = Field(default=1.0, ge=1e-6, le=1e6)
    int8: Agreement | None = None
    files: dict[str, str]
    recipe: dict[str, Any] = {}
    origin: dict[str, str] = {}
    data: dict[str, Any] = {}
    libraries: dict[str, str] = {}
    metrics: dict[str, float] = {}
    canaries: dict[str, float] = {}
    cascade: Band | None = None

    @field_validator("pattern")
    @classmethod
    def _known_pattern(cls, pattern: str) -> str:
        if pattern not in PATTERNS:
            raise ValueError("this version knows no such way of splitting words")
        return pattern


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified artifact in memory. fast: a cascade's first stage."""

    path: Path
    manifest: Manifest
    tokenizer: Tokenizer
    weights: dict[str, Tensor]
    fast: Artifact | None = None

    def build_model(self) -> SpamModel:
        """The model with its weights, in fp32, ready to score."""
        with torch.device("meta"):
            model = SpamModel(self.manifest.model)
        model.load_state_dict({k: v.float() for k, v in self.weights.items()}, assign=True)
        return model.eval().requires_grad_(False)


def load(path: Path | None = None) -> Artifact:
    """Read and verify an artifact; without a path, the starter that comes with filterd.

    Raises ArtifactError, naming what is missing, damaged or does not fit.
    """
    folder = (path or STARTER).resolve()
    manifest = read_manifest(folder)
    vocabulary = read_file(folder, VOCABULARY, manifest, VOCABULARY_BYTES)
    tokenizer = Tokenizer.from_bytes(vocabulary, manifest.pattern)
    data = read_file(folder, WEIGHTS, manifest, WEIGHTS_BYTES)
    try:
        weights = load_safetensors(data)
    except (SafetensorError, KeyError) as error:  # KeyError: a type that torch does not have
        raise ArtifactError(f"{folder / WEIGHTS} is not a safetensors file: {error}") from error
    _check_shapes(folder, manifest, tokenizer, weights)
    fast = None if manifest.cascade is None else _load_fast(folder, manifest, manifest.cascade)
    return Artifact(folder, manifest, tokenizer, weights, fast)


def _load_fast(folder: Path, manifest: Manifest, band: Band) -> Artifact:
    """The first stage, a whole artifact inside: the outer manifest vouches for the inner one."""
    read_file(folder, f"{FAST}/{MANIFEST}", manifest, MANIFEST_BYTES)
    fast = load(folder / FAST)
    if fast.manifest.cascade is not None or fast.manifest.version != band.fast:
        raise ArtifactError(f"{folder / FAST} is not the {band.fast} that {MANIFEST} names")
    return fast


def training_scores(folder: Path) -> list[float]:
    """How the scores of the test messages were spread: the share in each of equal buckets.

    Empty where the artifact's report does not say.
    """
    try:
        found = json.loads((folder / EVALUATION).read_bytes())["test"]["score_shares"]
        return [float(share) for share in found]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def sha256(data: bytes) -> str:
    """The checksum that the manifest holds of each file."""
    return hashlib.sha256(data).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """What an artifact says of itself. Raises ArtifactError; no other file of it is looked at."""
    if not folder.is_dir():
        raise ArtifactError(f"no artifact at {folder}: give a directory that holds {MANIFEST}")
    if not (folder / MANIFEST).exists():
        raise ArtifactError(f"{folder} is no artifact: it has no {MANIFEST}")
    try:
        raw = json.loads(_read(folder, MANIFEST, MANIFEST_BYTES))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{folder / MANIFEST} cannot be read: {error}") from error
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != FORMAT:
        raise ArtifactError(f"{folder} has format {found!r}, this version reads {FORMAT}")
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ArtifactError(f"{folder / MANIFEST}: {where}: {said}") from error


def _read(folder: Path, name: str, most_bytes: int) -> bytes:
    """A plain file in the folder: no link out of it, no pipe, no device, nothing endless."""
    path = folder / name
    try:
        found = path.stat()
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ArtifactError(f"{path} cannot be read: it is a link out of the artifact")
        if not stat.S_ISREG(found.st_mode):
            raise ArtifactError(f"{path} cannot be read: it is not a plain file")
        if found.st_size > most_bytes:
            raise ArtifactError(f"{path} has {found.st_size} bytes, more than any artifact")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error


def read_file(
    folder: Path, name: str, manifest: Manifest, most_bytes: int = WEIGHTS_BYTES
) -> bytes:
    """A file of an artifact as its manifest knows it. Raises ArtifactError for another, or a name
    that leads out of the folder.
    """
    if name not in manifest.files:
        raise ArtifactError(f"{folder / MANIFEST} has no checksum of {name}")
    data = _read(folder, name, most_bytes)
    if sha256(data) != manifest.files[name]:
        raise ArtifactError(f"{folder / name} is damaged: its checksum is not the manifest's")
    return data


def _check_shapes(
    folder: Path, manifest: Manifest, tokenizer: Tokenizer, weights: dict[str, Tensor]
) -> None:
    config = manifest.model
    if config.n_layer > len(weights):  # before a model of a billion layers is built
        raise ArtifactError(f"{folder}: {config.n_layer} layers, but {len(weights)} weights")
    if tokenizer.vocab_size != config.vocab_size:
        raise ArtifactError(
            f"{folder}: the vocabulary has {tokenizer.vocab_size} tokens, "
            f"the model {config.vocab_size}"
        )
    if manifest.max_length > config.n_positions:
        raise ArtifactError(
            f"{folder}: max_length {manifest.max_length} is above n_positions {config.n_positions}"
        )
    with torch.device("meta"):
        expected = {name: t.shape for name, t in SpamModel(config).state_dict().items()}
    for name in sorted(expected.keys() | weights.keys()):
        have, want = weights.get(name), expected.get(name)
        if have is None or want is None:
            raise ArtifactError(f"{folder}: {'unknown' if want is None else 'missing'}: {name}")
        if have.shape != want:
            raise ArtifactError(f"{folder}: {name} is {list(have.shape)}, not {list(want)}")
        if have.dtype not in FLOATS:
            raise ArtifactError(f"{folder}: {name} is of type {have.dtype}, not a float's")
        if not have.isfinite().all():
            raise ArtifactError(f"{folder}: {name} holds values that are not finite")
