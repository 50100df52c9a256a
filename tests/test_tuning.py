"""Tuning: what warm-up makes of what it measures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd import tuning


@given(st.integers(1, 5000), st.integers(2, 300))
def test_typical_messages_fill_the_tokens_given(tokens: int, max_length: int) -> None:
    windows = tuning.typical(tokens, max_length, whole=False)
    total = sum(map(len, windows))
    assert total <= tokens or len(windows) == 1
    assert total > tokens - max(tuning.LENGTHS)
    assert max(map(len, windows)) <= max_length


def test_padded_messages_are_all_of_one_length() -> None:
    assert {len(window) for window in tuning.typical(1000, 120, whole=True)} == {120}


class Machine:
    """Runs batches at given rates, in tokens a second; while it is busy ``slowed`` times slower."""

    def __init__(self, rates: Mapping[int, float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.tried, self.rates = 0.0, list[int](), rates
        self.busy, self.slowed = range(0), 1.0
        monkeypatch.setattr(tuning, "perf_counter", lambda: self.now_s)

    def score(self, tokens: int) -> None:
        """Takes its time."""
        slowed = self.slowed if len(self.tried) in self.busy else 1.0
        self.now_s += slowed * tokens / self.rates[tokens]
        self.tried.append(tokens)


RATES = {512: 10e3, 1024: 13e3, 2048: 16.5e3, 4096: 16.7e3}


def test_smallest_batch_that_is_nearly_the_fastest_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert tuning.budget(2, Machine(RATES, monkeypatch).score) == 2048


def test_a_busy_moment_does_not_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(RATES, monkeypatch)
    machine.busy, machine.slowed = range(2, 4), 3.0  # as the larger batches have their first run
    assert tuning.budget(2, machine.score) == 2048
    assert machine.tried[:8] == [512, 1024, 2048, 4096] * 2


@pytest.mark.parametrize(("least", "expected"), [(0, 2048), (512, 2048), (1025, 4096), (9e9, 4096)])
@pytest.mark.parametrize("slowed", [1.0, 3.0])
def test_no_batch_has_less_than_is_worth_it(
    monkeypatch: pytest.MonkeyPatch, least: float, expected: int, slowed: float
) -> None:
    """However busy the machine is."""
    machine = Machine(RATES, monkeypatch)
    machine.busy, machine.slowed = range(100), slowed
    assert tuning.budget(2, machine.score, least) == expected
    assert min(machine.tried) >= min(2 * least, 4096)


def test_typical_messages_have_many_lengths() -> None:
    lengths = {len(window) for window in tuning.typical(4096, 256, whole=False)}
    assert len(lengths) > 2 * len(tuning.LENGTHS)


def test_batches_that_take_too_long_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(dict.fromkeys(RATES, 1500.0), monkeypatch)  # the first is as good as any
    assert tuning.budget(2, machine.score) == 512
    assert machine.tried == [512, 1024, 2048] * 2


def test_precisions_are_compared_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy for a while slows one run of each, and the choice stays."""
    machine = Machine({1: 500.0, 2: 200.0}, monkeypatch)
    machine.busy, machine.slowed = range(2), 20.0
    works = {tokens: partial(machine.score, tokens) for tokens in machine.rates}
    times = dict(tuning.in_turn(works))
    assert machine.tried == [1, 2] * tuning.ROUNDS
    assert times == {1: pytest.approx(0.002), 2: pytest.approx(0.01)}


@pytest.mark.parametrize(("seconds", "best"), [(0.5, "int8"), (0.9, "fp32"), (2.0, "fp32")])
def test_coarser_precision_must_be_worth_it(seconds: float, best: str) -> None:
    assert tuning.fastest([("fp32", 1.0), ("int8", seconds)]) == best
