"""Random checkpoints of other people's forms, for tests: transformers' own models write them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from filterd.model import SpamModel
from filterd.packing import pack
from trainer.pretrained import Pretrained

Classifier = GPT2ForSequenceClassification | LlamaForSequenceClassification

TEXTS = [
    "WINNER!! You have won £1,000 cash, call 09061701461 now to claim your prize",
    "see you at lunch then, I'm on the 7:45 train and it's late again",
    "the cat sat on the mat; the other cats didn't, they'd rather   sleep\n\nall day",
    "Free entry in 2 a weekly comp to win FA Cup tickets, text FA to 87121",
    "naïve café, 漢字 and 🎉🎉 for 50% off!!!",
    "pay   5 or   6 now   or    never    9",
]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WORDS = 420
PADDING = 1
"""<|im_start|>, which no message holds: transformers read before the first of them."""


def byte_level(digits: bool) -> Any:
    """The split into words of GPT-2, or of SmolLM2."""
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if not digits:
        return plain
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain])


def learned(digits: bool) -> HuggingFaceTokenizer:
    """A vocabulary of few words whose special tokens come first, as in SmolLM2's."""
    tokenizer = HuggingFaceTokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level(digits)
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=WORDS,
            min_frequency=1,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            special_tokens=SPECIAL,
            show_progress=False,
        ),
    )
    return tokenizer


def merges_of(tokenizer: HuggingFaceTokenizer) -> list[tuple[str, str]]:
    """The merges in their order."""
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def _stirred(model: Any) -> Any:
    """Norms and biases random too, so that one left out or exchanged shows."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape))
            elif "wte" not in name and "embed" not in name:
                parameter.mul_(4)
    return model.eval().requires_grad_(False)


def random_gpt2() -> GPT2ForSequenceClassification:
    """A GPT-2 of two blocks."""
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=WORDS, n_positions=64, n_embd=128, n_layer=2, n_head=2, pad_token_id=PADDING
    )
    return _stirred(GPT2ForSequenceClassification(config))


def random_llama() -> LlamaForSequenceClassification:
    """A Llama of two blocks, whose four heads share two of keys and values."""
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=WORDS,
        max_position_embeddings=64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_theta": 5000.0, "rope_type": "default"},
        pad_token_id=PADDING,
    )
    return _stirred(LlamaForSequenceClassification(config))


def backbone(model: Classifier) -> dict[str, Tensor]:
    """The weights without the head, under the names that stand below it."""
    return {
        name.removeprefix("transformer.").removeprefix("model."): tensor.clone()
        for name, tensor in model.state_dict().items()
        if not name.startswith("score.")
    }


def article_of(model: GPT2ForSequenceClassification) -> dict[str, Tensor]:
    """The same GPT-2 under the article's names, as its own loading function assigns them."""
    theirs = backbone(model)
    state = {
        "tok_emb.weight": theirs["wte.weight"],
        "pos_emb.weight": theirs["wpe.weight"],
        "final_norm.scale": theirs["ln_f.weight"],
        "final_norm.shift": theirs["ln_f.bias"],
        "out_head.weight": theirs["wte.weight"],
    }
    for index in range(model.config.n_layer):
        block, source = f"trf_blocks.{index}", f"h.{index}"
        for name, kind in (("weight", -1), ("bias", 0)):
            parts = theirs[f"{source}.attn.c_attn.{name}"].chunk(3, dim=kind)
            for part, tensor in zip(("query", "key", "value"), parts, strict=True):
                state[f"{block}.att.W_{part}.{name}"] = tensor.t().clone() if kind else tensor
            for ours, other in (
                ("att.out_proj", "attn.c_proj"),
                ("ff.layers.0", "mlp.c_fc"),
                ("ff.layers.2", "mlp.c_proj"),
            ):
                tensor = theirs[f"{source}.{other}.{name}"]
                state[f"{block}.{ours}.{name}"] = tensor.t().clone() if kind else tensor
        for number in (1, 2):
            state[f"{block}.norm{number}.scale"] = theirs[f"{source}.ln_{number}.weight"]
            state[f"{block}.norm{number}.shift"] = theirs[f"{source}.ln_{number}.bias"]
        state[f"{block}.att.mask"] = torch.triu(torch.ones(64, 64), diagonal=1)
    return state


def permuted(weights: Tensor, heads: int) -> Tensor:
    """Rows of query or key as llama.cpp's convert_hf_to_gguf.py writes them."""
    return (
        weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
        .swapaxes(1, 2)
        .reshape(weights.shape)
    )


GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_tensors(model: LlamaForSequenceClassification) -> Iterator[tuple[str, Tensor]]:
    """The same Llama under llama.cpp's names, permuted."""
    heads = {
        "self_attn.q_proj": model.config.num_attention_heads,
        "self_attn.k_proj": model.config.num_key_value_heads,
    }
    for name, tensor in backbone(model).items():
        if name == "embed_tokens.weight":
            yield "token_embd.weight", tensor
            yield "output.weight", tensor
        elif name == "norm.weight":
            yield "output_norm.weight", tensor
        else:
            _, index, inner = name.removesuffix(".weight").split(".", 2)
            turned = permuted(tensor, heads[inner]) if inner in heads else tensor
            yield f"blk.{index}.{GGUF_NAMES[inner]}.weight", turned


def write_gguf(
    path: Path,
    model: LlamaForSequenceClassification,
    tokenizer: HuggingFaceTokenizer,
    quantised: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
) -> Path:
    """A GGUF file of the model, its matrices quantised."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_license("apache-2.0")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([3 if token in SPECIAL else 1 for token, _ in tokens])
    writer.add_token_merges([" ".join(merge) for merge in merges_of(tokenizer)])
    writer.add_eos_token_id(2)
    for name, tensor in gguf_tensors(model):
        kind = quantised if tensor.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(tensor.numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def served(pretrained: Pretrained, head: Tensor) -> SpamModel:
    """The model that would be served, with a head (2, C) of someone else's."""
    with torch.device("meta"):
        model = SpamModel(pretrained.config)
    weights = pretrained.weights | {"head.weight": head, "head.bias": torch.zeros(2)}
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


def logits(model: SpamModel, messages: Sequence[Sequence[int]]) -> Tensor:
    """Logits (B, 2) in the callers' order."""
    packed = pack(messages)
    ordered = torch.empty(len(messages), 2)
    ordered[packed.order] = model(packed)
    return ordered


def assert_same_logits(pretrained: Pretrained, theirs: Classifier, tolerance: float) -> None:
    """Messages alone, and batched in both, get transformers' logits."""
    ids = [[*pretrained.tokenizer.encode(text), len(pretrained.token_ids) - 1] for text in TEXTS]
    ids = [message[-60:] for message in ids]
    original = [[int(pretrained.token_ids[index] or 0) for index in message] for message in ids]
    alone = torch.cat([theirs(torch.tensor([message])).logits for message in original])
    longest = max(map(len, original))
    rows = [message + [PADDING] * (longest - len(message)) for message in original]
    mask = [[1] * len(message) + [0] * (longest - len(message)) for message in original]
    batched = theirs(torch.tensor(rows), attention_mask=torch.tensor(mask)).logits
    model = served(pretrained, theirs.score.weight)
    assert alone.std(0).min() > 0.01  # messages that cannot be told apart would prove nothing
    assert (logits(model, ids) - alone).abs().max() < tolerance
    assert (logits(model, ids) - batched).abs().max() < tolerance
    for message, expected in zip(ids, alone, strict=True):
        assert (logits(model, [message])[0] - expected).abs().max() < tolerance
