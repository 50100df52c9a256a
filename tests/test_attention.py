"""Attention in one call a batch: the same as group by group, with a plain loop for torch's kernel.

The kernel itself needs a GPU; its arguments are checked here as it would check them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention import varlen

from filterd import artifact
from filterd.artifact import Artifact
from filterd.classifier import Classifier
from filterd.demo import sample
from filterd.engine import Engine
from filterd.model import ModelConfig, SpamModel
from filterd.model.attention import attends_whole
from filterd.packing import copy_together, pack
from tests.engines import engine_of, one_thread, some_texts

SHAPES = {
    "gpt2": ModelConfig(vocab_size=61, n_positions=48, n_layer=3, n_head=4, n_embd=32),
    "gpt2, one block": ModelConfig(vocab_size=61, n_positions=48, n_layer=1, n_head=2, n_embd=32),
    "llama": ModelConfig(
        vocab_size=61, n_positions=48, n_layer=3, n_head=4, n_embd=32, family="llama"
    ),
    "llama, shared keys": ModelConfig(
        vocab_size=61, n_positions=48, n_layer=3, n_head=4, n_embd=32, family="llama", n_kv_head=2
    ),
}
CUDA = torch.device("cuda")

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
shapes = pytest.mark.parametrize("shape", SHAPES)
messages_of = st.lists(
    st.lists(st.integers(0, 60), min_size=1, max_size=48), min_size=1, max_size=12
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def loaded(tiny: Path) -> Artifact:
    return artifact.load(tiny)


@contextmanager
def plain_loop() -> Iterator[None]:
    """A loop over messages in place of torch's kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "varlen_attn", loop)
        yield


def loop(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> Tensor:
    """torch's ``varlen_attn`` by its documentation, message by message, in fp32.

    It does not say how causal queries and keys lie where their numbers differ: refused.
    """
    for cumulative, longest in ((cu_seq_q, max_q), (cu_seq_k, max_k)):
        assert cumulative.dtype == torch.int32
        assert cumulative.is_contiguous()
        assert cumulative.diff().max() == longest
    assert all(tensor.stride(-1) == 1 for tensor in (query, key, value))
    assert (int(cu_seq_q[-1]), int(cu_seq_k[-1])) == (len(query), len(key))
    assert enable_gqa or query.shape[1] == key.shape[1]
    assert window_size == (-1, -1) or (window_size == (-1, 0) and torch.equal(cu_seq_q, cu_seq_k))
    shared = query.shape[1] // key.shape[1]
    out = torch.empty(query.shape)
    spans = (pairwise(bounds.tolist()) for bounds in (cu_seq_q, cu_seq_k))
    for (first, stop), (begin, end) in zip(*spans, strict=True):
        for head in range(query.shape[1]):
            near = query[first:stop, head] @ key[begin:end, head // shared].T  # (queries, keys)
            if window_size == (-1, 0):
                near = near.masked_fill(torch.ones_like(near).triu(1).bool(), float("-inf"))
            weights = (near / query.shape[-1] ** 0.5).softmax(-1)
            out[first:stop, head] = weights @ value[begin:end, head // shared]
    return out


def model_of(shape: str) -> SpamModel:
    """A random model whose logits differ clearly between messages."""
    model = SpamModel(SHAPES[shape])
    model.initialise(torch.Generator().manual_seed(0))
    model.eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.mul_(5)
    return model


def some_messages() -> list[list[int]]:
    lengths = (1, 40, 17, 18, 48, 17, 2, 39)
    return [[(7 * length + place) % 61 for place in range(length)] for length in lengths]


@settings(deadline=None)
@given(messages_of, st.booleans())
def test_bounds_are_those_of_the_messages(messages: list[list[int]], grouped: bool) -> None:
    packed = pack(messages, grouped=grouped)
    expected = [0]
    for index in packed.order.tolist():
        expected.append(expected[-1] + len(messages[index]))
    assert packed.bounds.tolist() == expected
    assert packed.bounds.dtype == (torch.int64 if grouped else torch.int32)
    assert packed.longest == max(map(len, messages))


@settings(deadline=None, max_examples=20)
@given(messages_of)
def test_without_groups_the_rest_is_the_same(messages: list[list[int]]) -> None:
    with_groups, without = pack(messages), pack(messages, grouped=False)
    assert without.groups == ()
    assert without.padding_ratio == 0
    for name in ("tokens", "positions", "last", "order"):
        expected, found = getattr(with_groups, name), getattr(without, name)
        assert torch.equal(found, expected)
        assert found.dtype == expected.dtype == torch.int64


@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=9), min_size=1, max_size=5))
def test_what_is_copied_together_arrives_apart(lists: list[list[int]]) -> None:
    dtypes = [torch.int64, torch.int32]
    tensors = [torch.tensor(one, dtype=dtypes[place % 2]) for place, one in enumerate(lists)]
    copies = copy_together(tensors, torch.device("cpu"))
    assert [copy.tolist() for copy in copies] == lists
    assert {copy.dtype for copy in copies} == {torch.int64}


@pytest.mark.parametrize("grouped", [True, False])
def test_batch_arrives_whole(grouped: bool) -> None:
    packed = pack(some_messages(), grouped=grouped)
    moved = packed.to(torch.device("meta"))
    for name in ("tokens", "positions", "last", "bounds"):
        here, there = getattr(packed, name), getattr(moved, name)
        assert (there.device.type, there.dtype, there.shape) == ("meta", here.dtype, here.shape)
    assert moved.longest == packed.longest
    assert [group.count for group in moved.groups] == [group.count for group in packed.groups]


@shapes
@settings(deadline=None, max_examples=15)
@given(messages=messages_of)
def test_one_call_gives_the_logits_of_groups(shape: str, messages: list[list[int]]) -> None:
    model = model_of(shape)
    with plain_loop():
        found = model(pack(messages, grouped=False))
    assert (found - model(pack(messages))).abs().max() < 1e-4


@shapes
def test_messages_of_these_models_can_be_told_apart(shape: str) -> None:
    assert model_of(shape)(pack(some_messages())).std(0).min() > 0.05


@shapes
def test_torch_takes_the_call(shape: str) -> None:
    """Its own function, on tensors that have no values."""
    model = model_of(shape).to(torch.device("meta"), torch.bfloat16)
    with torch.inference_mode():
        out = model(pack(some_messages(), grouped=False).to(torch.device("meta")))
    assert (out.shape, out.dtype) == ((8, 2), torch.bfloat16)


@settings(deadline=None, max_examples=15)
@given(texts=some_texts, budget=st.integers(1, 100))
def test_engine_scores_the_same_without_groups(
    loaded: Artifact, texts: list[str], budget: int
) -> None:
    engine = engine_of(loaded, max_batch_tokens=budget)
    expected = engine.score_texts(texts)
    with plain_loop(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(SpamModel, "attends_whole", True)
        found = engine.score([engine.tokenize(text) for text in texts])
    assert found.values == pytest.approx(expected, abs=1e-4)
    assert found.padding_ratio == 0


@pytest.mark.parametrize(
    ("device", "dtype", "width", "built", "capability", "expected"),
    [
        ("cuda", torch.bfloat16, 64, True, (8, 0), True),
        ("cuda", torch.bfloat16, 256, True, (12, 0), True),
        ("cpu", torch.bfloat16, 64, True, (8, 0), False),
        ("cuda", torch.float32, 64, True, (8, 0), False),
        ("cuda", torch.bfloat16, 60, True, (8, 0), False),
        ("cuda", torch.bfloat16, 264, True, (8, 0), False),
        ("cuda", torch.bfloat16, 64, False, (8, 0), False),
        ("cuda", torch.bfloat16, 64, True, (7, 5), False),
    ],
)
def test_one_call_is_for_what_its_kernel_takes(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    dtype: torch.dtype,
    width: int,
    built: bool,
    capability: tuple[int, int],
    expected: bool,
) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: built)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert attends_whole(width, torch.device(device), dtype) is expected


def test_a_cpu_has_groups(loaded: Artifact) -> None:
    assert not loaded.build_model().attends_whole
    assert not loaded.build_model().bfloat16().attends_whole


@needs_cuda
@shapes
def test_cuda_logits_of_one_call_are_near(shape: str) -> None:
    """bf16 on a CPU is off by up to 0.013."""
    model = model_of(shape)
    expected = model(pack(some_messages()))
    model.to(CUDA, torch.bfloat16)
    assert model.attends_whole
    with torch.inference_mode():
        found = model(pack(some_messages(), grouped=False).to(CUDA)).float().cpu()
    assert (found - expected).abs().max() < 0.05


@needs_cuda
@pytest.mark.parametrize("grouped", [True, False])
def test_cuda_batch_arrives_with_its_values(grouped: bool) -> None:
    packed = pack(some_messages(), grouped=grouped)
    moved = packed.to(CUDA)
    for name in ("tokens", "positions", "last", "bounds"):
        here, there = getattr(packed, name), getattr(moved, name)
        assert there.is_cuda
        assert there.dtype == here.dtype
        assert torch.equal(there.cpu(), here)


@needs_cuda
def test_cuda_engine_scores_parts_in_order() -> None:
    """Several parts are under way at once; each score goes to its own message."""
    texts = [text for _, text in sample()]
    engine = Classifier.load(device="cuda", precision="bf16", max_batch_tokens=512).engine
    assert engine._model.attends_whole
    expected = Engine(artifact.load(), device="cpu", precision="fp32").score_texts(texts)
    assert engine.score_texts(texts) == pytest.approx(expected, abs=0.03)
