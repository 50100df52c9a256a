"""The model: equal to transformers' GPT-2, the same in any batch, packed without loss."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know
from transformers import GPT2Config, GPT2Model

from filterd.model import ModelConfig, SpamModel
from filterd.packing import GPU_PADDING, MAX_PADDING, Packed, cut_groups, pack, padding_on

SMALL = ModelConfig(vocab_size=61, n_positions=48, n_layer=3, n_head=4, n_embd=32)
CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
"""Weights that the original keeps the other way round."""

messages_of = st.lists(
    st.lists(st.integers(0, SMALL.vocab_size - 1), min_size=1, max_size=SMALL.n_positions),
    min_size=1,
    max_size=12,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small matrices are slower on several threads, and much slower on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_model(seed: int = 0) -> SpamModel:
    model = SpamModel(SMALL)
    generator = torch.Generator().manual_seed(seed)
    model.initialise(generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "ln_" in name or name.endswith("bias"):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
            else:
                parameter.mul_(5)  # logits that differ clearly between messages
    return model


MODEL = small_model().eval().requires_grad_(False)


def in_order(packed: Packed, values: Tensor) -> Tensor:
    """Rows of a packed batch in the caller's order."""
    ordered = torch.empty_like(values)
    ordered[packed.order] = values
    return ordered


def logits(model: SpamModel, messages: list[list[int]]) -> Tensor:
    packed = pack(messages)
    return in_order(packed, model(packed))


def reference(width: int, heads: int) -> GPT2Model:
    """A random GPT-2 of two blocks, whose biases and norms are random too."""
    torch.manual_seed(width)
    model = GPT2Model(
        GPT2Config(
            vocab_size=101,
            n_positions=64,
            n_embd=width,
            n_layer=2,
            n_head=heads,
            bos_token_id=100,
            eos_token_id=100,
        )
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape))
            elif name.startswith("wpe"):
                parameter.mul_(10)  # positions that matter
    return model.requires_grad_(False)


def ours(theirs: GPT2Model) -> SpamModel:
    config = theirs.config
    with torch.device("meta"):
        model = SpamModel(
            ModelConfig(
                vocab_size=config.vocab_size,
                n_positions=config.n_positions,
                n_layer=config.n_layer,
                n_head=config.n_head,
                n_embd=config.n_embd,
            )
        )
    weights = {
        name: value.t() if name.endswith(CONV1D) else value
        for name, value in theirs.state_dict().items()
    }
    weights["head.weight"] = torch.randn(2, config.n_embd) / config.n_embd**0.5
    weights["head.bias"] = torch.randn(2)
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("width", "heads"),
    [(768, 12), (1024, 16), (1280, 20), (1600, 25)],
    ids=["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"],
)
def test_logits_equal_transformers(width: int, heads: int) -> None:
    theirs = reference(width, heads)
    model = ours(theirs)
    generator = torch.Generator().manual_seed(1)
    messages = [
        torch.randint(0, 101, (length,), generator=generator).tolist()
        for length in (17, 1, 64, 17, 5, 19)
    ]
    expected = torch.cat(
        [
            model.head(theirs(torch.tensor([message])).last_hidden_state[:, -1])
            for message in messages
        ]
    )
    assert expected.std(0).min() > 0.05  # messages that cannot be told apart would prove nothing
    assert (logits(model, messages) - expected).abs().max() < 1e-4


@settings(deadline=None, max_examples=25)
@given(messages_of)
def test_message_scores_the_same_alone_and_in_any_batch(messages: list[list[int]]) -> None:
    together = logits(MODEL, messages)
    alone = torch.cat([MODEL(pack([message])) for message in messages])
    assert (together - alone).abs().max() < 1e-4


@settings(deadline=None, max_examples=15)
@given(messages_of)
def test_order_in_the_batch_does_not_matter(messages: list[list[int]]) -> None:
    backwards = logits(MODEL, messages[::-1]).flip(0)
    assert (backwards - logits(MODEL, messages)).abs().max() < 1e-4


def test_last_token_sees_every_token_before_it() -> None:
    message = list(range(20))
    plain = logits(MODEL, [message])
    for index in range(20):
        changed = [*message]
        changed[index] = 60
        assert (logits(MODEL, [changed]) - plain).abs().max() > 1e-5


@settings(deadline=None)
@given(messages_of)
def test_every_token_is_packed_once(messages: list[list[int]]) -> None:
    packed = pack(messages)
    order = packed.order.tolist()
    assert sorted(order) == list(range(len(messages)))
    first = 0
    for index, last in zip(order, packed.last.tolist(), strict=True):
        stop = first + len(messages[index])
        assert packed.tokens[first:stop].tolist() == messages[index]
        assert packed.positions[first:stop].tolist() == list(range(stop - first))
        assert last == stop - 1
        first = stop
    assert first == len(packed.tokens)


@settings(deadline=None)
@given(messages_of)
def test_groups_cover_all_tokens_in_order(messages: list[list[int]]) -> None:
    packed = pack(messages)
    assert packed.groups[0].start == 0
    assert packed.groups[-1].stop == len(packed.tokens)
    assert all(one.stop == other.start for one, other in pairwise(packed.groups))
    assert sum(group.count for group in packed.groups) == len(messages)
    for group in packed.groups:
        if group.rows is None:
            assert group.count * group.length == group.stop - group.start
            assert group.mask is group.keep is None
            continue
        assert group.mask is not None
        assert group.keep is not None
        tokens = list(range(group.start, group.stop))
        assert group.rows.shape == (group.count, group.length)
        assert group.rows[group.mask[:, 0, 0]].tolist() == tokens
        assert group.rows.flatten()[group.keep].tolist() == tokens
        assert group.rows.min() >= group.start
        assert group.rows.max() < group.stop


bounds = st.sampled_from([MAX_PADDING, GPU_PADDING])


@given(st.lists(st.integers(1, 1024), max_size=200).map(sorted), bounds)
def test_padding_of_each_group_is_bounded(lengths: list[int], bound: float) -> None:
    runs = list(cut_groups(lengths, bound))
    assert [index for first, stop in runs for index in range(first, stop)] == list(
        range(len(lengths))
    )
    for first, stop in runs:
        area = (stop - first) * lengths[stop - 1]
        assert 1 - sum(lengths[first:stop]) / area <= bound + 1e-9


@given(st.lists(st.integers(1, 1024), min_size=1, max_size=200).map(sorted), bounds)
def test_groups_are_as_few_as_their_bound_allows(lengths: list[int], bound: float) -> None:
    for (first, stop), _ in pairwise(cut_groups(lengths, bound)):
        area = (stop + 1 - first) * lengths[stop]
        assert 1 - sum(lengths[first : stop + 1]) / area > bound - 1e-9


def test_on_a_gpu_more_padding_is_taken_for_fewer_groups() -> None:
    assert padding_on(torch.device("cpu")) == MAX_PADDING
    assert padding_on(torch.device("cuda")) == GPU_PADDING
    messages = [[1] * length for length in (3, 9, 9, 5, 20)]
    near, far = pack(messages), pack(messages, padding=GPU_PADDING)
    assert len(far.groups) == 1 < len(near.groups)
    model = small_model()
    with torch.no_grad():
        assert torch.allclose(model(near), model(far), atol=1e-5)


@settings(deadline=None)
@given(messages_of)
def test_padding_ratio_is_that_of_the_groups(messages: list[list[int]]) -> None:
    packed = pack(messages)
    area = sum(group.count * group.length for group in packed.groups)
    assert packed.padding_ratio == pytest.approx(1 - sum(map(len, messages)) / area)
    assert 0 <= packed.padding_ratio <= MAX_PADDING + 1e-9


def test_gradient_of_a_batch_is_the_sum_of_its_messages() -> None:
    model = small_model().double()
    generator = torch.Generator().manual_seed(2)
    messages = [
        torch.randint(0, 61, (length,), generator=generator).tolist()
        for length in (7, 30, 8, 1, 31, 29, 8)
    ]
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    assert any(group.rows is not None for group in pack(messages).groups)
    F.cross_entropy(logits(model, messages), labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
    together = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert together.keys() == dict(model.named_parameters()).keys()
    model.zero_grad()
    for message, label in zip(messages, labels, strict=True):
        F.cross_entropy(logits(model, [message]), label[None]).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(together[name], parameter.grad, msg=name)


def test_dropout_works_in_training_alone() -> None:
    model = SpamModel(SMALL, dropout=0.5)
    model.initialise(torch.Generator().manual_seed(0))
    message = [list(range(20))]
    torch.manual_seed(0)
    assert not torch.equal(logits(model, message), logits(model, message))
    model.eval()
    assert torch.equal(logits(model, message), logits(model, message))


def test_same_seed_same_weights() -> None:
    one, same, other = SpamModel(SMALL), SpamModel(SMALL), SpamModel(SMALL)
    for model, seed in ((one, 1), (same, 1), (other, 2)):
        model.initialise(torch.Generator().manual_seed(seed))
    assert torch.equal(one.wte.weight, same.wte.weight)
    assert not torch.equal(one.wte.weight, other.wte.weight)


@pytest.mark.parametrize("size", ["vocab_size", "n_positions", "n_layer", "n_head", "n_embd"])
def test_size_of_nothing_is_refused(size: str) -> None:
    sizes = {"vocab_size": 1, "n_positions": 1, "n_layer": 1, "n_head": 1, "n_embd": 1, size: 0}
    with pytest.raises(ValueError, match="at least 1"):
        ModelConfig(**sizes)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 10 does not divide by 4 heads"):
        ModelConfig(vocab_size=1, n_positions=1, n_layer=1, n_head=4, n_embd=10)
