"""Llama-like weights of a Hugging Face checkpoint, such as SmolLM2's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from filterd.errors import ArtifactError
from filterd.model import ModelConfig
from trainer.pretrained.weights import model_config, parse, stripped

HEADS = ("lm_head.weight", "score.weight")
BUFFER = "rotary_emb.inv_freq"
"""Rotary frequencies, which old checkpoints hold beside the weights."""
ROPE_THETA = 10_000.0


class Rope(BaseModel):
    """Rotary positions as they are, without any of the ways to stretch them."""

    model_config = ConfigDict(extra="forbid")

    rope_theta: float | None = None
    rope_type: Literal["default"] = "default"
    type: Literal["default"] = "default"


class HuggingFaceConfig(BaseModel):
    """What of a Llama's config.json decides its shape, and what the model takes for granted."""

    vocab_size: int
    max_position_embeddings: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int = Field(ge=1)
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    rms_norm_eps: float = Field(default=1e-6, gt=0)
    rope_theta: float | None = None
    rope_parameters: Rope | None = None
    rope_scaling: Rope | None = None
    hidden_act: Literal["silu", "swish"] = "silu"
    attention_bias: Literal[False] = False
    mlp_bias: Literal[False] = False

    @property
    def theta(self) -> float:
        """The base of the rotary positions, wherever this version of the file keeps it."""
        kept = self.rope_parameters.rope_theta if self.rope_parameters else None
        return kept or self.rope_theta or ROPE_THETA


def config_of(values: Mapping[str, Any], where: str) -> ModelConfig:
    """The shape that a config.json tells. Raises ArtifactError where it cannot be served."""
    fields = parse(HuggingFaceConfig, values, where)
    if fields.head_dim not in (None, fields.hidden_size // fields.num_attention_heads):
        raise ArtifactError(f"{where}: heads of {fields.head_dim} channels are not width / heads")
    return model_config(
        where,
        family="llama",
        vocab_size=fields.vocab_size,
        n_positions=fields.max_position_embeddings,
        n_layer=fields.num_hidden_layers,
        n_head=fields.num_attention_heads,
        n_kv_head=fields.num_key_value_heads or 0,
        n_embd=fields.hidden_size,
        n_inner=fields.intermediate_size,
        norm_epsilon=fields.rms_norm_eps,
        rope_theta=fields.theta,
    )


def from_hugging_face(
    values: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The shape and the weights, under the model's names, yet unchecked."""
    named = stripped(tensors, "model.", HEADS)
    return config_of(values, f"{where}/config.json"), {
        name: tensor for name, tensor in named.items() if not name.endswith(BUFFER)
    }
