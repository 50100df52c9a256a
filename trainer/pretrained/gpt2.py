"""GPT-2's weights: a Hugging Face checkpoint, or the article's ``gpt2.pth``.

The article loads the weights into the GPTModel of "Build a Large Language Model (From Scratch)"
(Raschka, 2024), whose names these are: ``tok_emb``, ``trf_blocks.0.att.W_query`` and so on.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor

from filterd.errors import ArtifactError
from filterd.model import ModelConfig
from trainer.pretrained.weights import model_config, parse, stripped

CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
"""Weights that Hugging Face keeps with the inputs first."""
BUFFERS = (".attn.bias", ".attn.masked_bias")
"""Causal masks, which old checkpoints hold beside the weights."""
HEADS = ("lm_head.weight", "score.weight")
HEAD_WIDTH = 64
"""Of every published GPT-2; a ``gpt2.pth`` does not tell how many heads it has."""

OUTER = {
    "tok_emb.weight": "wte.weight",
    "pos_emb.weight": "wpe.weight",
    "final_norm.scale": "ln_f.weight",
    "final_norm.shift": "ln_f.bias",
}
INNER = {
    "att.out_proj.weight": "attn.c_proj.weight",
    "att.out_proj.bias": "attn.c_proj.bias",
    "ff.layers.0.weight": "mlp.c_fc.weight",
    "ff.layers.0.bias": "mlp.c_fc.bias",
    "ff.layers.2.weight": "mlp.c_proj.weight",
    "ff.layers.2.bias": "mlp.c_proj.bias",
    "norm1.scale": "ln_1.weight",
    "norm1.shift": "ln_1.bias",
    "norm2.scale": "ln_2.weight",
    "norm2.shift": "ln_2.bias",
}
QUERY_KEY_VALUE = ("att.W_query", "att.W_key", "att.W_value")
IGNORED = ("att.mask", "out_head.weight", "out_head.bias")


class HuggingFaceConfig(BaseModel):
    """What of a GPT-2's config.json decides its shape, and what must be as GPT-2 has it."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int | None = None
    layer_norm_epsilon: float = Field(default=1e-5, gt=0)
    activation_function: Literal["gelu_new", "gelu_pytorch_tanh"] = "gelu_new"
    scale_attn_weights: Literal[True] = True
    scale_attn_by_inverse_layer_idx: Literal[False] = False
    add_cross_attention: Literal[False] = False


def from_hugging_face(
    values: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The shape and the weights, under the model's names, yet unchecked."""
    fields = parse(HuggingFaceConfig, values, f"{where}/config.json")
    config = model_config(
        where,
        vocab_size=fields.vocab_size,
        n_positions=fields.n_positions,
        n_layer=fields.n_layer,
        n_head=fields.n_head,
        n_embd=fields.n_embd,
        n_inner=fields.n_inner or 0,
        norm_epsilon=fields.layer_norm_epsilon,
    )
    named = stripped(tensors, "transformer.", HEADS)
    return config, {
        name: tensor.t() if name.endswith(CONV1D) and tensor.ndim == 2 else tensor
        for name, tensor in named.items()
        if not name.endswith(BUFFERS)
    }


def from_article(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The shape, inferred from the weights, and the weights under the model's names.

    Raises ArtifactError where the file is none of the article's, or a pickle of anything else
    than tensors.
    """
    tensors = read_tensors(path)
    weights: dict[str, Tensor] = {}
    parts: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        _, block, inner = _split(name)
        if inner in IGNORED or name in IGNORED:
            continue
        if inner.rpartition(".")[0] in QUERY_KEY_VALUE:
            parts[name] = tensor
        elif block:
            weights[f"h.{block}.{INNER.get(inner, inner)}"] = tensor
        else:
            weights[OUTER.get(name, name)] = tensor
    return _inferred(path, weights), weights | _joined(path, parts)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A pickled state dict, read without running what it says."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ArtifactError(
            f"{path} holds more than tensors and is not loaded: "
            "save the model's state_dict() in it, and nothing else"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path} cannot be read, fetch it again: {error}") from error
    if isinstance(found, Mapping) and "model_state_dict" in found:
        found = found["model_state_dict"]
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    ):
        raise ArtifactError(f"{path} is no state dict: save the model's state_dict() in it")
    return dict(found)


def _split(name: str) -> tuple[str, str, str]:
    match = re.fullmatch(r"(trf_blocks)\.(\d+)\.(.+)", name)
    return (match[1], match[2], match[3]) if match else ("", "", name)


def _joined(path: Path, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value of each block as one projection."""
    joined = {}
    for name in parts:
        if "W_query" not in name:
            continue
        three = [
            parts.get(name.replace("W_query", part)) for part in ("W_query", "W_key", "W_value")
        ]
        found = [part for part in three if part is not None]
        if len(found) < len(three):
            raise ArtifactError(f"{path} lacks the key or value that goes with {name}")
        if len({part.shape for part in found}) > 1:
            raise ArtifactError(f"{path}: query, key and value of {name} differ in shape")
        block, kind = name.split(".")[1], name.rpartition(".")[2]
        joined[f"h.{block}.attn.c_attn.{kind}"] = torch.cat(found)
    return joined


def _inferred(path: Path, weights: Mapping[str, Tensor]) -> ModelConfig:
    tables = [weights.get("wte.weight"), weights.get("wpe.weight")]
    sizes = [tuple(table.shape) for table in tables if table is not None and table.ndim == 2]
    if len(sizes) < len(tables):
        raise ArtifactError(
            f"{path} lacks tok_emb.weight or pos_emb.weight: it is not the article's gpt2.pth"
        )
    (vocab_size, width), (n_positions, _) = sizes
    if width % HEAD_WIDTH:
        raise ArtifactError(
            f"{path}: a width of {width} is no GPT-2's: heads are {HEAD_WIDTH} wide"
        )
    blocks = {name.split(".")[1] for name in weights if name.startswith("h.")}
    return model_config(
        str(path),
        vocab_size=vocab_size,
        n_positions=n_positions,
        n_layer=len(blocks),
        n_head=width // HEAD_WIDTH,
        n_embd=width,
    )
