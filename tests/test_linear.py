"""Linear layers for serving: what they compute is what nn.Linear does, exactly or nearly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from filterd.linear import Int8Linear, Rows, TransposedLinear, for_serving
from filterd.model import ModelConfig, SpamModel, gpt2
from filterd.model.gpt2 import gelu
from filterd.packing import pack

NEAR = 0.03
"""Of the largest output: what rounding 7-bit weights and 8-bit inputs may cost."""


def layer(inner: int = 48, outer: int = 80, *, bias: bool = True, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    made = nn.Linear(inner, outer, bias=bias).requires_grad_(False)
    made.weight.mul_(torch.rand(outer, 1) * 10)  # rows of very different sizes
    return made


def spread(rows: int, width: int, seed: int) -> Tensor:
    """Inputs whose rows differ in size by orders of magnitude."""
    generator = torch.Generator().manual_seed(seed)
    sizes = 10 ** torch.empty(rows, 1).uniform_(-3, 3, generator=generator)
    return torch.randn(rows, width, generator=generator) * sizes


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_layers_for_serving_compute_the_same(rows: int, bias: bool) -> None:
    plain = layer(bias=bias)
    inputs = spread(rows, 48, seed=rows)
    expected = plain(inputs)
    torch.testing.assert_close(TransposedLinear(plain)(inputs), expected, rtol=1e-4, atol=1e-4)
    off = (Int8Linear(plain)(inputs) - expected).abs().amax(1)
    assert off.max() > 0
    assert (off <= NEAR * expected.abs().amax(1)).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(0, 99), st.floats(1, 1e6))
def test_no_other_token_moves_an_int8_output(rows: int, seed: int, size: float) -> None:
    quantised = Int8Linear(layer())
    inputs = spread(rows, 48, seed)
    outlier = torch.full((1, 48), size)
    beside = quantised(torch.cat([outlier, inputs, -outlier]))[1:-1]
    alone = torch.cat([quantised(row[None]) for row in inputs])
    torch.testing.assert_close(beside, alone, rtol=1e-6, atol=1e-6)


def test_bytes_never_overflow_sixteen_bits() -> None:
    """The worst case: every weight and every input as large as can be, with one sign."""
    plain = nn.Linear(256, 8, bias=False).requires_grad_(False)
    plain.weight.fill_(1.0)
    inputs = torch.ones(3, 256)
    assert Int8Linear(plain)(inputs).tolist() == [[pytest.approx(256, rel=1e-5)] * 8] * 3


def test_zeros_stay_zeros() -> None:
    plain = layer()
    plain.weight[3] = 0
    plain.bias[3] = 0
    quantised = Int8Linear(plain)
    assert quantised(torch.randn(5, 48))[:, 3].tolist() == [0] * 5
    assert quantised(torch.zeros(2, 48)).tolist() == [plain.bias.tolist()] * 2


def test_rows_share_weights_and_gradients() -> None:
    whole = nn.Linear(6, 9)
    some = Rows(whole, 3, 7)
    inputs = torch.randn(4, 6)
    torch.testing.assert_close(some(inputs), whole(inputs)[:, 3:7])
    torch.testing.assert_close(some.alone()(inputs), whole(inputs)[:, 3:7])
    assert list(some.parameters()) == []
    some(inputs).sum().backward()
    assert whole.weight.grad is not None
    assert whole.weight.grad.any(1).tolist() == [3 <= row < 7 for row in range(9)]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize(("make", "most"), [(TransposedLinear, 1e-4), (Int8Linear, 0.1)])
def test_served_model_gives_the_logits_of_the_trained_one(
    family: str, make: type[nn.Module], most: float
) -> None:
    config = ModelConfig(
        vocab_size=61, n_positions=48, n_layer=3, n_head=4, n_embd=32, family=family
    )
    model = SpamModel(config).eval().requires_grad_(False)
    model.initialise(torch.Generator().manual_seed(1))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.mul_(4)  # logits that differ clearly between messages
    packed = pack([[*range(length)] for length in (3, 20, 21, 40)])
    expected = model(packed)
    for_serving(model.blocks, make)
    assert expected.std(0).min() > most
    served = model(packed)
    assert (served - expected).abs().max() < most
    kinds = {type(module) for block in model.blocks[:-1] for module in block.modules()}
    assert make in kinds
    assert nn.Linear not in kinds


def test_gelu_is_torchs() -> None:
    inputs = torch.linspace(-30, 30, 4001)
    expected = nn.functional.gelu(inputs, approximate="tanh")
    assert (gelu(inputs.clone()) - expected).abs().max() < 2e-6
    half = inputs.to(torch.bfloat16)
    assert gelu(half.clone()).dtype == torch.bfloat16
    assert (gelu(half.clone()).float() - expected).abs().max() < 0.2
    learned = inputs.clone().requires_grad_()
    assert torch.equal(gelu(learned), expected)
    assert torch.equal(learned.detach(), inputs)


@pytest.mark.parametrize("at_once", [1, 7, 64, 10_000])
def test_gelu_reaches_every_value_once(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(gpt2, "GELU_VALUES", at_once)
    inputs = torch.linspace(-9, 9, 13 * 17).view(13, 17)
    given = inputs.clone()
    expected = nn.functional.gelu(inputs, approximate="tanh")
    assert (gelu(given) - expected).abs().max() < 2e-6
    assert (given - expected).abs().max() < 2e-6  # in its own memory
