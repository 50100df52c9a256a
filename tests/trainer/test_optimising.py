"""Rates over a run, groups of parameters, the moving average."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.trainer.runs import tiny
from trainer.optimising import FLOOR, Average, optimizer, set_rate, share_of_rate


def test_the_rate_rises_and_falls() -> None:
    rates = [share_of_rate(step, 100, tiny(warmup=0.1)) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10] == max(rates) == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(FLOOR, abs=0.001)
    assert share_of_rate(0, 100, tiny(warmup=0)) == 1


def test_constant_is_constant() -> None:
    assert {share_of_rate(step, 9, tiny(schedule="constant")) for step in range(9)} == {1.0}


@given(st.integers(1, 300), st.floats(0, 0.99))
def test_no_step_stands_still_or_goes_back(steps: int, warmup: float) -> None:
    recipe = tiny(warmup=warmup)
    assert all(0 < share_of_rate(step, steps, recipe) <= 1 for step in range(steps))


def parameters() -> dict[str, nn.Parameter]:
    return {
        "wte.weight": nn.Parameter(torch.ones(3, 2)),
        "h.0.attn.c_attn.weight": nn.Parameter(torch.ones(2, 2)),
        "h.0.ln_1.weight": nn.Parameter(torch.ones(2)),
        "head.bias": nn.Parameter(torch.ones(2)),
    }


def groups(**fields: object) -> dict[int, tuple[float, float]]:
    recipe = tiny(learning_rate=1e-2, weight_decay=0.5, **fields)
    named = parameters()
    found = {}
    for group in optimizer(named, recipe).param_groups:
        for parameter in group["params"]:
            place = next(i for i, own in enumerate(named.values()) if own is parameter)
            found[place] = (group["lr"], group["weight_decay"])
    return found


def test_matrices_decay_and_the_embedding_is_slow() -> None:
    assert groups() == {0: (1e-2, 0.5), 1: (1e-2, 0.5), 2: (1e-2, 0.0), 3: (1e-2, 0.0)}
    assert groups(embedding_rate=0.1)[0] == (pytest.approx(1e-3), 0.5)
    assert {decay for _, decay in groups(decay_all=True).values()} == {0.5}


def test_every_group_is_brought_to_its_own_share() -> None:
    made = optimizer(parameters(), tiny(learning_rate=1e-2, embedding_rate=0.1))
    set_rate(made, 0.5)
    set_rate(made, 0.25)
    rates = sorted({group["lr"] for group in made.param_groups})
    assert rates == pytest.approx([2.5e-4, 2.5e-3])


def test_the_average_follows() -> None:
    learning = {"weight": nn.Parameter(torch.zeros(2))}
    average = Average(learning, 0.9)
    with torch.no_grad():
        learning["weight"].fill_(1)
    average.follow(1)  # at first fast: 1 / 11
    assert average.weights["weight"].tolist() == pytest.approx([10 / 11] * 2)
    with torch.no_grad():
        average.weights["weight"].zero_()
    average.follow(10_000)
    assert average.weights["weight"].tolist() == pytest.approx([0.1] * 2)
    with average.in_place():
        assert learning["weight"].tolist() == pytest.approx([0.1] * 2)
    assert learning["weight"].tolist() == [1, 1]


def test_without_a_decay_the_average_is_the_weights() -> None:
    learning = {"weight": nn.Parameter(torch.zeros(2))}
    average = Average(learning, 0.0)
    with torch.no_grad():
        learning["weight"].fill_(1)
    average.follow(1)
    kept = average.copy()
    with torch.no_grad():
        learning["weight"].fill_(2)
    assert average.weights["weight"].tolist() == [2, 2]
    assert kept["weight"].tolist() == [1, 1]
