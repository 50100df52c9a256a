"""The band loses no F1 and answers as much as any band that loses none."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.band import NEVER, Opinions, f1, fit

SCORE = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
MESSAGES = st.lists(st.tuples(SCORE, SCORE, st.booleans()), min_size=1, max_size=12)


def opinions(messages: list[tuple[float, float, bool]], threshold: float) -> Opinions:
    fast, large, spam = (np.array(column, dtype=float) for column in zip(*messages, strict=True))
    return Opinions(fast, large, spam, threshold)


@given(MESSAGES, st.sampled_from([0.0, 0.3, 0.5, 0.6, 1.0]))
def test_no_f1_is_lost_and_no_other_band_answers_more(
    messages: list[tuple[float, float, bool]], threshold: float
) -> None:
    given_ = opinions(messages, threshold)
    low, high = fit(given_)
    assert low <= threshold <= high
    least = f1(given_.large, given_.spam, threshold)
    assert f1(given_.scores(low, high), given_.spam, threshold) >= least - 1e-12
    bounds = [*np.unique(given_.fast), threshold, 0.0, NEVER]
    lows = [bound for bound in bounds if bound <= threshold]
    highs = [bound for bound in bounds if bound >= threshold]
    most = max(
        given_.answered(*band).sum()
        for band in product(lows, highs)
        if f1(given_.scores(*band), given_.spam, threshold) >= least - 1e-12
    )
    assert given_.answered(low, high).sum() == most


def test_a_fast_model_as_good_as_the_large_one_answers_all() -> None:
    scores = np.array([0.1, 0.2, 0.8, 0.9])
    given_ = Opinions(scores, scores, (scores > 0.5).astype(float), 0.5)
    assert given_.answered(*fit(given_)).all()


@pytest.mark.parametrize("spam", [0.0, 1.0])
def test_a_fast_model_that_is_wrong_at_its_surest_answers_nothing_there(spam: float) -> None:
    truth = np.array([spam, 1 - spam] * 5)
    fast, large = np.where(truth > 0, 0.01, 0.99), np.where(truth > 0, 0.9, 0.1)
    given_ = Opinions(fast, large, truth, 0.5)
    assert not given_.answered(*fit(given_)).any()
