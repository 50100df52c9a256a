"""Llama-like folders and GGUF files give transformers' own logits; what is amiss is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import LlamaForSequenceClassification

from filterd.errors import ArtifactError
from tests import checkpoints
from tests.checkpoints import assert_same_logits, learned, permuted, random_llama, write_gguf
from trainer.pretrained import load
from trainer.pretrained.gguf_file import halves


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def theirs() -> LlamaForSequenceClassification:
    return random_llama()


@pytest.fixture
def folder(tmp_path: Path, theirs: LlamaForSequenceClassification) -> Path:
    theirs.save_pretrained(tmp_path)
    learned(digits=True).save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def configure(folder: Path, drop: tuple[str, ...] = (), **values: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: config[name] for name in config if name not in drop}))


def change_tokenizer(folder: Path, **values: Any) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    for name, value in values.items():
        if isinstance(value, dict):
            content[name] = (content[name] or {}) | value
        else:
            content[name] = value
    path.write_text(json.dumps(content))


def test_folder_gives_the_logits_of_transformers(
    folder: Path, theirs: LlamaForSequenceClassification
) -> None:
    found = load(str(folder))
    assert_same_logits(found, theirs, 1e-4)
    assert (found.config.family, found.config.kv_heads, found.config.inner) == ("llama", 2, 96)
    assert found.config.rope_theta == 5000
    assert found.token_ids[-1] == 0  # <|endoftext|>, which comes first there


def test_configuration_of_older_versions_is_understood(
    folder: Path, theirs: LlamaForSequenceClassification
) -> None:
    configure(folder, ("rope_parameters", "head_dim"), rope_theta=5000.0, rope_scaling=None)
    assert_same_logits(load(str(folder)), theirs, 1e-4)


def test_old_buffers_and_heads_are_left_out(
    folder: Path, theirs: LlamaForSequenceClassification
) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors")
    assert_same_logits(load(str(folder)), theirs, 1e-4)


def test_gguf_gives_the_same_model_as_the_folder(
    folder: Path, theirs: LlamaForSequenceClassification
) -> None:
    found = load(str(write_gguf(folder / "model.gguf", theirs, learned(digits=True))))
    same = load(str(folder))
    assert_same_logits(found, theirs, 1e-4)
    assert found.tokenizer.ranks == same.tokenizer.ranks
    assert found.tokenizer.pattern == same.tokenizer.pattern
    assert found.token_ids == same.token_ids
    assert found.weights.keys() == same.weights.keys()
    assert all(torch.equal(found.weights[name], same.weights[name]) for name in same.weights)
    assert found.origin["licence"] == "apache-2.0"


def test_quantised_gguf_is_near(folder: Path, theirs: LlamaForSequenceClassification) -> None:
    path = folder / "model.gguf"
    write_gguf(path, theirs, learned(digits=True), GGMLQuantizationType.Q8_0)
    found, exact = load(str(path)), load(str(folder))
    for name, weights in exact.weights.items():
        assert (found.weights[name] - weights).abs().max() <= weights.abs().max() / 127


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 5))
def test_permutation_of_llama_cpp_is_undone(heads: int, half: int, width: int) -> None:
    rows = torch.arange(heads * 2 * half * width).view(heads * 2 * half, width)
    assert torch.equal(halves(permuted(rows, heads), heads, ""), rows)


def test_gguf_cut_off_anywhere_is_refused(
    tmp_path: Path, theirs: LlamaForSequenceClassification
) -> None:
    path = write_gguf(tmp_path / "model.gguf", theirs, learned(digits=True))
    whole = path.read_bytes()
    cuts = [*range(0, 400, 7), *range(400, len(whole), len(whole) // 25), len(whole) - 1]
    for length in cuts:
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=r"model\.gguf"):
            load(str(path))


@settings(max_examples=80, deadline=None)
@given(place=st.integers(0, 1000) | st.integers(-9000, -1), value=st.integers(0, 255))
def test_gguf_with_a_damaged_byte_raises_nothing_else(
    damaged: tuple[Path, bytes], place: int, value: int
) -> None:
    path, whole = damaged
    place = place if place >= 0 else whole.index(b"token_embd.weight") + 4500 + place
    path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
    try:
        load(str(path))
    except ArtifactError as error:
        assert "model.gguf" in str(error)  # noqa: PT017 - most changes do no harm


@pytest.fixture(scope="module")
def damaged(
    tmp_path_factory: pytest.TempPathFactory, theirs: LlamaForSequenceClassification
) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    return path, write_gguf(path, theirs, learned(digits=True)).read_bytes()


def test_gguf_of_another_kind_is_named(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "model.gguf", "bert")
    writer.add_tensor("token_embd.weight", torch.ones(2, 2).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ArtifactError, match="is a bert: of GGUF files, only llama"):
        load(str(tmp_path / "model.gguf"))


def test_gguf_with_a_tensor_too_many_or_too_few_is_named(
    tmp_path: Path, theirs: LlamaForSequenceClassification, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = dict(checkpoints.gguf_tensors(theirs))
    path, tokenizer = tmp_path / "model.gguf", learned(digits=True)
    for name, complaint in (
        ("blk.1.attn_k.weight", r"lacks layers\.1\.self_attn\.k_proj\.weight"),
        ("blk.1.attn_k.bias", r"has not: blk\.1\.attn_k\.bias"),
    ):
        changed = {key: value for key, value in tensors.items() if key != name}
        if name not in tensors:
            changed[name] = torch.ones(4)
        monkeypatch.setattr(checkpoints, "gguf_tensors", lambda _, now=changed: now.items())
        write_gguf(path, theirs, tokenizer)
        with pytest.raises(ArtifactError, match=complaint):
            load(str(path))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"attention_bias": True}, "attention_bias"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"head_dim": 32}, "heads of 32 channels"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "rope_parameters"),
        ({"num_key_value_heads": 3}, "4 heads do not divide by 3"),
        ({"num_key_value_heads": 4}, r"k_proj\.weight .* is \(32, 64\), not \(64, 64\)"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_configuration_that_cannot_be_served_is_named(
    folder: Path, values: dict[str, Any], complaint: str
) -> None:
    drop = ("head_dim",) if "head_dim" not in values else ()
    configure(folder, drop, **values)
    with pytest.raises(ArtifactError, match=complaint):
        load(str(folder))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"normalizer": {"type": "NFC"}}, "changes texts before it splits them"),
        ({"model": {"byte_fallback": True}}, "asks for byte_fallback"),
        ({"model": {"ignore_merges": True}}, "asks for ignore_merges"),
        ({"model": {"merges": ["a b c"]}}, "no merge of two tokens"),
        ({"model": {"merges": [["Q", "QQ"]]}}, "is of no token"),
        ({"model": {"vocab": {"a": 1, "b": 1}}}, "two tokens the same id"),
        ({"model": {"merges": None}}, "no byte-pair vocabulary"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "splits words by"),
        ({"pre_tokenizer": {"add_prefix_space": True}}, "splits words by"),
        ({"added_tokens": [{"id": 9, "content": "tick", "special": False}]}, "adds 'tick'"),
    ],
)
def test_tokenizer_that_cannot_be_equalled_is_refused(
    folder: Path, values: dict[str, Any], complaint: str
) -> None:
    if values.get("pre_tokenizer", {}).keys() == {"add_prefix_space"}:
        learned(digits=False).save(str(folder / "tokenizer.json"))
    change_tokenizer(folder, **values)
    with pytest.raises(ArtifactError, match=complaint):
        load(str(folder))


def test_more_ids_than_rows_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:300].clone()
    save_file(tensors, folder / "model.safetensors")
    configure(folder, ("head_dim",), vocab_size=300)
    with pytest.raises(ArtifactError, match=r"300 rows for a token id of \d+"):
        load(str(folder))
