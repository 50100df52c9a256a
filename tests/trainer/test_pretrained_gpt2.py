"""GPT-2 checkpoints of every form give transformers' own logits; what is amiss is named."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GPT2ForSequenceClassification

from filterd.errors import ArtifactError
from tests.checkpoints import article_of, assert_same_logits, learned, random_gpt2
from trainer.pretrained import load

Change = Callable[[dict[str, Tensor]], Any]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def theirs() -> GPT2ForSequenceClassification:
    return random_gpt2()


@pytest.fixture
def folder(tmp_path: Path, theirs: GPT2ForSequenceClassification) -> Path:
    theirs.save_pretrained(tmp_path)
    learned(digits=False).model.save(str(tmp_path))
    return tmp_path


@pytest.fixture
def article(tmp_path: Path, theirs: GPT2ForSequenceClassification) -> Path:
    learned(digits=False).model.save(str(tmp_path))
    torch.save(article_of(theirs), tmp_path / "gpt2.pth")
    return tmp_path / "gpt2.pth"


def rewrite(folder: Path, change: Change) -> None:
    """Change the tensors of a folder's only file of weights."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_folder_gives_the_logits_of_transformers(
    folder: Path, theirs: GPT2ForSequenceClassification
) -> None:
    found = load(str(folder))
    assert_same_logits(found, theirs, 1e-4)
    assert found.config.family == "gpt2"
    assert found.config.vocab_size == found.tokenizer.vocab_size == len(found.token_ids)
    assert found.origin.keys() == {"name", "licence", "sha256", "obtained"}
    assert len(found.origin["sha256"]) == 64


def test_shards_are_read_as_one(
    folder: Path, tmp_path: Path, theirs: GPT2ForSequenceClassification
) -> None:
    whole = load(str(folder))
    (folder / "model.safetensors").unlink()
    theirs.save_pretrained(folder, max_shard_size="300KB")
    assert not (folder / "model.safetensors").exists()
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    parts = load(str(folder))
    assert parts.weights.keys() == whole.weights.keys()
    assert all(torch.equal(parts.weights[name], whole.weights[name]) for name in whole.weights)


def test_old_names_and_buffers_are_understood(
    folder: Path, theirs: GPT2ForSequenceClassification
) -> None:
    """As openai-community/gpt2 has them: no prefix, masks among the weights, a head."""

    def as_published(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = torch.ones(1, 1, 64, 64)
        tensors["h.1.attn.masked_bias"] = torch.tensor(-1e4)
        tensors["lm_head.weight"] = tensors["wte.weight"].clone()

    rewrite(folder, as_published)
    assert_same_logits(load(str(folder)), theirs, 1e-4)


def test_half_precision_becomes_single(folder: Path) -> None:
    rewrite(folder, lambda tensors: tensors.update({n: t.half() for n, t in tensors.items()}))
    assert {tensor.dtype for tensor in load(str(folder)).weights.values()} == {torch.float32}


def test_article_file_gives_the_same_model(
    article: Path, theirs: GPT2ForSequenceClassification, tmp_path: Path
) -> None:
    found = load(str(article))
    assert_same_logits(found, theirs, 1e-4)
    theirs.save_pretrained(tmp_path)
    same = load(str(tmp_path))
    assert found.config == same.config
    assert found.weights.keys() == same.weights.keys()
    assert all(torch.equal(found.weights[name], same.weights[name]) for name in same.weights)


def test_article_file_of_a_training_run_is_understood(
    article: Path, theirs: GPT2ForSequenceClassification
) -> None:
    """As the book saves it: beside an optimiser, and with a head of two classes."""
    state = article_of(theirs) | {
        "out_head.weight": torch.ones(2, 128),
        "out_head.bias": torch.ones(2),
    }
    torch.save({"model_state_dict": state, "optimizer_state_dict": {}}, article)
    assert_same_logits(load(str(article)), theirs, 1e-4)


def test_openai_names_of_the_vocabulary_are_understood(article: Path) -> None:
    same = load(str(article)).tokenizer.ranks
    (article.parent / "vocab.json").rename(article.parent / "encoder.json")
    (article.parent / "merges.txt").rename(article.parent / "vocab.bpe")
    assert load(str(article)).tokenizer.ranks == same


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(Bomb.target),)

    target = ""


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_pickle_that_runs_something_is_refused(tmp_path: Path, how: str) -> None:
    Bomb.target = str(tmp_path / "ran")
    content = {"tok_emb.weight": torch.ones(2, 2), "bomb": Bomb()}
    if how == "torch":
        torch.save(content, tmp_path / "gpt2.pth")
    else:
        (tmp_path / "gpt2.pth").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ArtifactError, match=r"gpt2\.pth"):
        load(str(tmp_path / "gpt2.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.pop("transformer.h.1.ln_2.bias"), r"lacks h\.1\.ln_2\.bias$"),
        (lambda t: t.pop("transformer.wte.weight"), r"lacks wte\.weight$"),
        (lambda t: t.update(more=torch.ones(1)), r"holds what a gpt2 has not: more"),
        (
            lambda t: t.update({"transformer.h.0.mlp.c_fc.weight": torch.ones(128, 500)}),
            r"h\.0\.mlp\.c_fc\.weight \(outputs first\) is \(500, 128\), not \(512, 128\)",
        ),
        (
            lambda t: t["transformer.ln_f.weight"].fill_(float("nan")),
            r"not every number is finite in ln_f\.weight",
        ),
        (lambda t: t.update({"wte.weight": torch.ones(2)}), r"wte\.weight with and without"),
        (
            lambda t: [t.pop(name) for name in list(t) if name.startswith("transformer.h.1.")],
            r"lacks h\.1\.\S+, .* and 8 more",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(folder: Path, change: Change, complaint: str) -> None:
    rewrite(folder, change)
    with pytest.raises(ArtifactError, match=complaint):
        load(str(folder))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"model_type": "bert"}, "model_type 'bert': only gpt2 and llama"),
        ({"n_layer": "many"}, "n_layer"),
        ({"n_head": 3}, "width 128 does not divide by 3 heads"),
        ({"n_layer": 3}, r"lacks h\.2\."),
        ({"vocab_size": 421}, r"wte\.weight .* is \(420, 128\), not \(421, 128\)"),
        ({"activation_function": "relu"}, "activation_function"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    ],
)
def test_configuration_that_cannot_be_served_is_named(
    folder: Path, values: dict[str, Any], complaint: str
) -> None:
    configure(folder, **values)
    with pytest.raises(ArtifactError, match=complaint):
        load(str(folder))


def test_missing_and_damaged_files_are_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"model\.safetensors cannot be read, fetch it again"):
        load(str(folder))
    weights.unlink()
    with pytest.raises(ArtifactError, match=r"holds no model\.safetensors"):
        load(str(folder))
    index = {"weight_map": {"wte.weight": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ArtifactError, match="names files outside its folder"):
        load(str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"config\.json is not JSON"):
        load(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"config\.json cannot be read"):
        load(str(folder))


def test_vocabulary_must_be_there(folder: Path) -> None:
    (folder / "merges.txt").unlink()
    with pytest.raises(ArtifactError, match=r"holds no tokenizer\.json, nor"):
        load(str(folder))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.pop("trf_blocks.1.att.W_key.bias"), "lacks the key or value"),
        (lambda t: t.pop("trf_blocks.0.ff.layers.2.bias"), r"lacks h\.0\.mlp\.c_proj\.bias"),
        (lambda t: t.pop("pos_emb.weight"), "not the article's"),
        (lambda t: t.update(other=torch.ones(1)), "has not: other"),
        (
            lambda t: t.update({"trf_blocks.0.att.W_key.bias": torch.ones(3)}),
            "query, key and value of trf_blocks.0.att.W_query.bias differ in shape",
        ),
        (
            lambda t: t.update({"tok_emb.weight": torch.ones(9, 100)}),
            "a width of 100 is no GPT-2's",
        ),
        (lambda t: t.update(number=1), "no state dict"),
    ],
)
def test_article_file_that_does_not_fit_is_named(
    article: Path, theirs: GPT2ForSequenceClassification, change: Change, complaint: str
) -> None:
    state = article_of(theirs)
    change(state)
    torch.save(state, article)
    with pytest.raises(ArtifactError, match=complaint):
        load(str(article))


def test_article_file_cut_off_is_refused(article: Path) -> None:
    whole = article.read_bytes()
    for length in (0, 10, 1000, len(whole) // 2, len(whole) - 10):
        article.write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=r"gpt2\.pth"):
            load(str(article))
