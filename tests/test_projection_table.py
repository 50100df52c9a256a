"""The first block's projection: looked up it is what it is when computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.model import ModelConfig, SpamModel
from filterd.packing import pack
from tests.engines import one_thread
from tests.test_model import SMALL, messages_of, small_model


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@settings(max_examples=40, deadline=None)
@given(messages_of, st.integers(0, 3))
def test_a_projection_looked_up_is_the_computed_one(messages: list[list[int]], seed: int) -> None:
    model = small_model(seed).eval().requires_grad_(False)
    packed = pack(messages)
    expected = model(packed)
    model.look_up_first()
    assert model.h[0].table is not None
    torch.testing.assert_close(model(packed), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        replace(SMALL, n_layer=1),
        replace(SMALL, vocab_size=200_000, n_embd=64),
        replace(SMALL, family="llama"),
    ],
    ids=["one block", "a large vocabulary", "rotary positions"],
)
def test_what_cannot_be_looked_up_is_computed(config: ModelConfig) -> None:
    model = SpamModel(config)
    model.look_up_first()
    assert getattr(model.blocks[0], "table", None) is None


def test_a_table_is_no_part_of_the_state() -> None:
    model = small_model()
    before = model.state_dict().keys()
    model.look_up_first()
    assert model.state_dict().keys() == before
