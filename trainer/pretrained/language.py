"""A pretrained backbone as transformers' language model, which can go on with a text.

Its head is the token embedding, as in GPT-2 and SmolLM2; its ids are those of our tokenizer.
"""

from __future__ import annotations

from typing import Any

from filterd.errors import ArtifactError, SettingsError
from filterd.model import ModelConfig
from trainer.pretrained import EMBEDDINGS, Pretrained
from trainer.pretrained.gpt2 import CONV1D


def language_model(pretrained: Pretrained) -> Any:
    """transformers' model, which has no types, in fp32.

    Raises SettingsError for one of our own artifacts, ArtifactError where the checkpoint's head was
    trained apart from its token embedding.
    """
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    config, name = pretrained.config, pretrained.origin["name"]
    if pretrained.reads:
        raise SettingsError(f"{name} tells spam from ham and writes nothing: give another backbone")
    if not pretrained.tied:
        raise ArtifactError(f"{name} has a head apart from its token embedding: give another")
    if config.family == "gpt2":
        model: Any = GPT2LMHeadModel(GPT2Config(**_gpt2(config)))
        weights = {
            f"transformer.{name}": tensor.t() if name.endswith(CONV1D) else tensor
            for name, tensor in pretrained.weights.items()
        }
    else:
        model = LlamaForCausalLM(LlamaConfig(**_llama(config)))
        weights = {f"model.{name}": tensor for name, tensor in pretrained.weights.items()}
    head = pretrained.weights[EMBEDDINGS[config.family]]
    model.load_state_dict(weights | {"lm_head.weight": head})
    return model


def _gpt2(config: ModelConfig) -> dict[str, Any]:
    still = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    return still | {
        "vocab_size": config.vocab_size,
        "n_positions": config.n_positions,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_inner": config.inner,
        "layer_norm_epsilon": config.norm_epsilon,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def _llama(config: ModelConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.n_positions,
        "hidden_size": config.n_embd,
        "intermediate_size": config.inner,
        "num_hidden_layers": config.n_layer,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": config.norm_epsilon,
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
    }
