"""What a run starts from: random weights, a checkpoint cut down, or its embedding alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from filterd import artifact
from filterd.errors import ArtifactError, SettingsError
from filterd.model import SpamModel
from filterd.packing import pack
from tests.artifacts import tiny_artifact, tiny_cascade
from tests.checkpoints import TEXTS, learned, random_gpt2, random_llama
from tests.trainer.runs import LLAMA, same, tiny
from trainer import pretrained
from trainer.backbone import Start, first_trainable, prepare, trainable_parameters
from trainer.recipe import Recipe

FROM = {"vocab_size": 0, "n_layer": 0, "n_head": 0, "n_embd": 0}
WORDS = [*TEXTS, "win a prize now"] * 3


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("gpt2")
    random_gpt2().save_pretrained(folder)
    learned(digits=False).model.save(str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("llama")
    random_llama().save_pretrained(folder)
    learned(digits=True).save(str(folder / "tokenizer.json"))
    return str(folder)


def started(**fields: Any) -> Start:
    return prepare(tiny(**fields), WORDS, lambda _: None)


@pytest.mark.parametrize("family", [{}, LLAMA], ids=["gpt2", "llama"])
def test_random_weights_are_the_seeds(family: dict[str, Any]) -> None:
    start = started(**family)
    assert (start.weights, start.origin) == ({}, {})
    assert start.config.vocab_size == start.tokenizer.vocab_size <= 320
    assert start.config.n_positions == 24
    state = torch.get_rng_state()
    first = start.build(tiny(**family)).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert same(first, start.build(tiny(**family)).state_dict())
    assert not same(first, start.build(tiny(seed=2, **family)).state_dict())
    assert float(next(iter(first.values())).std()) == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_checkpoint_as_it_is(family: str, gpt2: str, llama: str) -> None:
    folder = gpt2 if family == "gpt2" else llama
    theirs = pretrained.load(folder)
    start = started(backbone=folder, **FROM)
    assert start.config == theirs.config
    assert start.origin == theirs.origin
    state = start.build(tiny(backbone=folder, **FROM)).state_dict()
    assert same({name: state[name] for name in theirs.weights}, theirs.weights)
    assert set(state) - set(theirs.weights) == {"head.weight", "head.bias"}


def test_the_first_blocks_of_a_checkpoint(gpt2: str) -> None:
    theirs = pretrained.load(gpt2)
    start = started(backbone=gpt2, **{**FROM, "n_layer": 1})
    state = start.build(tiny(backbone=gpt2, **FROM)).state_dict()
    assert start.config.n_layer == 1
    assert not [name for name in state if name.startswith("h.1.")]
    kept = {name: w for name, w in theirs.weights.items() if not name.startswith("h.1.")}
    assert same({name: state[name] for name in kept}, kept)


def test_a_vocabulary_cut_to_what_is_used(gpt2: str) -> None:
    theirs = pretrained.load(gpt2)
    start = started(backbone=gpt2, **{**FROM, "vocab_size": 300})
    assert 290 <= start.tokenizer.vocab_size == start.config.vocab_size <= 300
    table = start.weights["wte.weight"]
    assert len(table) == start.tokenizer.vocab_size
    for token, rank in start.tokenizer.ranks.items():
        assert torch.equal(table[rank], theirs.weights["wte.weight"][theirs.tokenizer.ranks[token]])
    assert torch.equal(table[-1], theirs.weights["wte.weight"][len(theirs.tokenizer.ranks)])
    whole = started(backbone=gpt2, **{**FROM, "vocab_size": 99_999})
    assert whole.tokenizer.ranks == theirs.tokenizer.ranks
    assert start.digest() != whole.digest()


def test_an_embedding_in_fewer_channels(gpt2: str) -> None:
    table = pretrained.load(gpt2).weights["wte.weight"]
    own = embedding_of(tiny(embedding=gpt2, vocab_size=0, n_embd=128))
    assert float(own.std()) == pytest.approx(0.02, rel=0.01)
    # With all axes kept, tokens are as far from each other as they were, but for the scale.
    far, near = torch.cdist(table, table), torch.cdist(own, own)
    assert torch.allclose(near, far * (near.sum() / far.sum()), atol=near.max().item() * 1e-2)
    narrow = embedding_of(tiny(embedding=gpt2, vocab_size=0))
    assert narrow.shape == (len(table), 16)
    spread = narrow.var(0).tolist()
    assert spread == sorted(spread, reverse=True)
    assert torch.equal(embedding_of(tiny(embedding=gpt2, vocab_size=0, **LLAMA)), narrow)


def embedding_of(recipe: Recipe) -> Tensor:
    """The token embedding that would be served without a step of training."""
    start = prepare(recipe, WORDS, lambda _: None)
    served = start.served(start.build(recipe))
    assert set(served) == set(SpamModel(start.config).state_dict())
    return served[f"{start.embedding_name}.weight"]


def test_a_head_of_zeros(gpt2: str) -> None:
    start = started(backbone=gpt2, **FROM)
    drawn = start.build(tiny(backbone=gpt2, **FROM)).state_dict()
    zeros = start.build(tiny(backbone=gpt2, zero_head=True, **FROM)).state_dict()
    assert drawn["head.weight"].abs().min() > 0
    assert not zeros["head.weight"].any()
    assert not zeros["head.bias"].any()
    del drawn["head.weight"], drawn["head.bias"], zeros["head.weight"], zeros["head.bias"]
    assert same(drawn, zeros)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"n_head": 4, "n_embd": 128}, "has n_head 2: leave it 0"),
        ({"n_layer": 3}, "has 2 blocks: n_layer 3"),
        ({"trainable": 3}, "trainable 3 is more than the 2 blocks"),
        ({"max_length": 65}, "reads 64 tokens: max_length 65"),
    ],
)
def test_more_than_a_checkpoint_has(gpt2: str, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        started(backbone=gpt2, **{**FROM, **fields})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_channels_than_an_embedding_has(gpt2: str) -> None:
    with pytest.raises(SettingsError, match="has width 128: n_embd is above it"):
        started(embedding=gpt2, vocab_size=0, n_embd=130)


@pytest.mark.parametrize(
    ("trainable", "first", "names"),
    [
        ("head", 2, {"head"}),
        (1, 1, {"h.1", "ln_f", "head"}),
        (2, 0, {"h.0", "h.1", "ln_f", "head"}),
        ("all", 0, {"wte", "wpe", "h.0", "h.1", "ln_f", "head"}),
    ],
)
def test_what_learns(trainable: str | int, first: int, names: set[str]) -> None:
    recipe = tiny(trainable=trainable)
    start = prepare(recipe, WORDS, lambda _: None)
    model = start.build(recipe)
    assert first_trainable(recipe, start.config) == first
    found = trainable_parameters(model, recipe)
    assert {".".join(n.split(".")[: 2 if n[:2] == "h." else 1]) for n in found} == names
    assert {name for name, p in model.named_parameters() if p.requires_grad} == set(found)


OURS = {**FROM, "max_length": 24, "backbone": "starter", "normalization": "unaccented"}


def test_an_artifact_goes_on_from_where_it_is() -> None:
    start, theirs = started(**OURS), artifact.load()
    assert start.tokenizer.ranks == theirs.tokenizer.ranks
    assert start.origin["name"].endswith(f"by way of {theirs.manifest.version}")
    assert start.origin["licence"] == theirs.manifest.origin["licence"]
    assert theirs.manifest.origin["obtained"] in start.origin["obtained"]
    model = start.build(tiny(**OURS)).eval()
    packed = pack([start.tokenizer.encode(text)[:20] for text in TEXTS])
    with torch.inference_mode():
        torch.testing.assert_close(model(packed), theirs.build_model()(packed))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("normalization", "none", "unaccented"), ("pooling", "padded-last", "last")],
)
def test_an_artifact_is_read_as_it_was(field: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"starter reads texts so: --set {field}={said}"):
        started(**{**OURS, field: value})


def test_a_cascade_is_no_backbone(tmp_path: Path) -> None:
    fast, large = tiny_artifact(tmp_path / "fast"), tiny_artifact(tmp_path / "large")
    folder = tiny_cascade(tmp_path / "both", fast, large, (0.2, 0.8))
    with pytest.raises(ArtifactError, match="is a cascade: give one of the two that it joins"):
        pretrained.load(str(folder))
