"""Llama-like weights and their vocabulary of a GGUF file, the form that llama.cpp reads.

Quantised tensors are made fp32 again. llama.cpp rotates neighbouring channels where Hugging Face
rotates halves of a head, so its converter permutes the rows of query and key; that is undone here.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader, TokenType
from gguf.quants import dequantize
from torch import Tensor

from filterd.errors import ArtifactError
from filterd.model import ModelConfig
from filterd.tokenizer import DIGITS_PATTERN, GPT2_PATTERN
from trainer.pretrained.llama import config_of
from trainer.pretrained.vocabularies import Vocabulary, end_of_text, from_merges

OUTER = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}
INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
HEAD = "output.weight"
PATTERNS = {"smollm": DIGITS_PATTERN, "gpt-2": GPT2_PATTERN}
"""Splits into words, by llama.cpp's names for them."""
SIZES = {
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "rope.dimension_count",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
}


@dataclass(frozen=True, slots=True)
class Content:
    """What a GGUF file holds: metadata, and tensors under their own names, fp32."""

    metadata: dict[str, Any]
    tensors: dict[str, Tensor]


class Reader(GGUFReader):
    """The package's reader, which by itself goes on reading nothing past the end of a file."""

    def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
        found = super()._get(offset, dtype, count, override_order)
        if len(found) < count:
            raise ValueError(f"it ends before byte {offset + 1}")
        return found


def read(path: Path) -> Content:
    """Read and dequantise. Raises ArtifactError where the file is cut off, damaged or no GGUF."""
    try:
        reader = Reader(path)
        tensors = {
            tensor.name: torch.tensor(dequantize(tensor.data, tensor.tensor_type))
            for tensor in reader.tensors
        }
        return Content({name: field.contents() for name, field in reader.fields.items()}, tensors)
    except NotImplementedError as error:
        raise ArtifactError(f"{path} is quantised in a way that cannot be read: {error}") from error
    except (OSError, ValueError, IndexError, KeyError, TypeError, struct.error) as error:
        raise ArtifactError(f"{path} is not a whole GGUF file, fetch it again: {error}") from error


def model_of(content: Content, where: str) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The shape and the weights, under the model's names, yet unchecked."""
    metadata = content.metadata
    family = metadata.get("general.architecture")
    if family != "llama":
        raise ArtifactError(f"{where} is a {family}: of GGUF files, only llama can be read")
    if metadata.get("llama.rope.scaling.type", "none") != "none":
        raise ArtifactError(f"{where} stretches its rotary positions, which is not supported")
    embedding = content.tensors.get("token_embd.weight")
    if embedding is None or embedding.ndim != 2:
        raise ArtifactError(f"{where} lacks token_embd.weight")
    values = {
        name: metadata[f"llama.{key}"] for name, key in SIZES.items() if f"llama.{key}" in metadata
    }
    config = config_of({"vocab_size": len(embedding), **values}, where)
    heads = {"attn_q": config.n_head, "attn_k": config.kv_heads}
    weights = {}
    for name, tensor in content.tensors.items():
        if name == HEAD:
            continue
        match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
        if not match:
            weights[OUTER.get(name, name)] = tensor
            continue
        inner = match[2]
        if inner in heads:
            tensor = halves(tensor, heads[inner], where)
        weights[f"layers.{match[1]}.{INNER.get(inner, inner)}.weight"] = tensor
    return config, weights


def halves(projection: Tensor, heads: int, where: str) -> Tensor:
    """Rows of neighbouring channels, as llama.cpp has them, in the order of rotated halves.

    projection: (heads * D, C). The inverse of ``permute`` in llama.cpp's convert_hf_to_gguf.py.
    """
    rows = len(projection)
    if projection.ndim != 2 or rows % (2 * heads):
        raise ArtifactError(f"{where}: {tuple(projection.shape)} is no projection of {heads} heads")
    pairs = projection.view(heads, rows // heads // 2, 2, -1)
    return pairs.transpose(1, 2).reshape(rows, -1)


def vocabulary_of(content: Content, where: str) -> Vocabulary:
    """The vocabulary of the file's metadata."""
    metadata = {
        name.removeprefix("tokenizer.ggml."): value
        for name, value in content.metadata.items()
        if name.startswith("tokenizer.ggml.")
    }
    if metadata.get("model") != "gpt2" or metadata.get("pre") not in PATTERNS:
        raise ArtifactError(
            f"{where} has the vocabulary {metadata.get('model')}/{metadata.get('pre')}: "
            f"only gpt2 with {' or '.join(PATTERNS)} can be read"
        )
    tokens, merges = metadata.get("tokens"), metadata.get("merges")
    if not isinstance(tokens, list) or not isinstance(merges, list):
        raise ArtifactError(f"{where} lacks the tokens or merges of its vocabulary")
    types = metadata.get("token_type", [TokenType.NORMAL] * len(tokens))
    ids = {token: index for index, token in enumerate(tokens)}
    ordinary = {token: index for token, index in ids.items() if types[index] == TokenType.NORMAL}
    closing = end_of_text(ids, metadata.get("eos_token_id"), where)
    return from_merges(ordinary, merges, closing, PATTERNS[metadata["pre"]], where)
