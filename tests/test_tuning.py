"""Tuning: what warm-up makes of what it measures."""

from __future__ import annotations

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


def test_smallest_batch_that_is_nearly_the_fastest_is_taken() -> None:
    rates = {512: 100.0, 1024: 800.0, 2048: 985.0, 4096: 1000.0, 8192: 1001.0}
    assert tuning.budget(2, lambda tokens: tokens / (rates[tokens] * 1000)) == 2048


def test_batches_that_take_too_long_are_not_tried() -> None:
    tried: list[int] = []

    def score(tokens: int) -> float:
        tried.append(tokens)
        return tokens / 1500  # always as fast a token: the first is as good as any

    assert tuning.budget(2, score) == 512
    assert tried == [512, 1024, 2048]


def test_precisions_are_compared_in_turn() -> None:
    """A machine that is busy for a while slows one run of each, and the choice stays."""
    ran: list[str] = []

    def work(name: str, seconds: float) -> None:
        ran.append(name)
        now_s[0] += 0.05 if len(ran) <= 2 else seconds

    now_s = [0.0]
    works = {"fp32": lambda: work("fp32", 0.002), "int8": lambda: work("int8", 0.01)}
    times = dict(tuning.in_turn(works, lambda: now_s[0]))
    assert ran == ["fp32", "int8"] * tuning.ROUNDS
    assert times == {"fp32": pytest.approx(0.002), "int8": pytest.approx(0.01)}


@pytest.mark.parametrize(("seconds", "best"), [(0.5, "int8"), (0.9, "fp32"), (2.0, "fp32")])
def test_coarser_precision_must_be_worth_it(seconds: float, best: str) -> None:
    assert tuning.fastest([("fp32", 1.0), ("int8", seconds)]) == best
