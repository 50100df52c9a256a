"""Intervals: reproducible, paired, honest at the ends, and about as often right as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import bootstrap
from trainer.bootstrap import Interval, differences, intervals, resample, share_interval
from trainer.calibration import Floats
from trainer.evaluation import Evaluation, judge
from trainer.measures import measure


def made_up(seed: int, size: int = 400, apart: float = 4.0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    spam = (np.arange(size) % 4 == 0).astype(float)
    scores: Floats = 1 / (1 + np.exp(-rng.normal(apart * (spam - 0.5), 1.5)))
    return scores, spam


def test_the_same_seed_draws_the_same() -> None:
    data = made_up(1)
    one, again = (resample(*data, 0.5, resamples=50) for _ in range(2))
    other = resample(*data, 0.5, resamples=50, seed=7)
    assert all((one[name] == again[name]).all() for name in one)
    assert (one["recall"] != other["recall"]).any()


def test_memory_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made_up(1)
    whole = resample(*data, 0.5, resamples=50)
    chance = bootstrap.chance_error(data[0])
    monkeypatch.setattr(bootstrap, "CELLS", 3 * 400)
    parts = resample(*data, 0.5, resamples=50)
    assert all(whole[name] == pytest.approx(parts[name]) for name in whole)
    assert bootstrap.chance_error(data[0]) == pytest.approx(chance)


def test_resampling_is_stratified() -> None:
    scores, spam = made_up(2)
    found = resample(scores, spam, 0.5, resamples=200)
    counts = found["recall"] * spam.sum()
    assert counts == pytest.approx(np.round(counts))
    blocked = found["false_positive_rate"] * (len(spam) - spam.sum())
    right = counts + len(spam) - spam.sum() - blocked
    assert found["accuracy"] == pytest.approx(right / len(spam))


def test_intervals_hold_the_true_value_about_as_often_as_they_say() -> None:
    names = ("accuracy", "f1", "recall", "mcc", "auc", "loss")
    true = measure(*made_up(0, 100_000), 0.5)
    held = dict.fromkeys(names, 0)
    for seed in range(1, 101):
        data = made_up(seed)
        samples = resample(*data, 0.5, resamples=300)
        found, _ = intervals(measure(*data, 0.5), samples, data[0])
        for name in names:
            held[name] += found[name].low <= getattr(true, name) <= found[name].high
    assert all(88 <= count <= 100 for count in held.values()), held


def test_scores_that_mean_what_they_say_may_have_no_error() -> None:
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scores = rng.beta(0.1, 0.6, 600)
        spam = (rng.random(600) < scores).astype(float)
        samples = resample(scores, spam, 0.5, resamples=100)
        found, _ = intervals(measure(scores, spam, 0.5), samples, scores)
        held += found["calibration_error"].low == 0
    assert held >= 54
    off = judge(scores**0.2, spam, 0.5)
    assert off.intervals["calibration_error"].low > 0.05


@given(st.integers(0, 30), st.integers(0, 30))
def test_values_lie_in_their_intervals(hams: int, spams: int) -> None:
    rng = np.random.default_rng(hams * 31 + spams)
    size = hams + spams + 1
    spam = np.array([1.0] * spams + [0.0] * (hams + 1))
    found = judge(np.round(rng.random(size), 2), spam, 0.5)
    for name, (low, high) in found.intervals.items():
        assert low <= high
        if name in ("accuracy", "recall", "false_positive_rate", "calibration_error"):
            assert low - 1e-9 <= getattr(found.measures, name) <= high + 1e-9


def perfect() -> Evaluation:
    spam = np.array([1.0] * 20 + [0.0] * 80)
    return judge(0.1 + 0.8 * spam, spam, 0.5)


def test_no_errors_are_no_certainty() -> None:
    found = perfect()
    assert found.intervals["recall"] == pytest.approx((20 / (20 + 1.96**2), 1))
    assert found.intervals["false_positive_rate"].high == pytest.approx(1.96**2 / (80 + 1.96**2))
    for name in ("f1", "mcc", "auc"):
        assert getattr(found.measures, name) == pytest.approx(1)
        assert found.reasons[name] == "no errors to resample"
        assert name not in found.intervals


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_interval_of_a_share(hits: int, more: int) -> None:
    count = hits + more
    low, high = share_interval(hits, count)
    assert 0 <= low <= hits / count < high <= 1
    assert (low == 0) == (hits == 0)
    mirrored = share_interval(more, count)
    assert (1 - high, 1 - low) == pytest.approx(tuple(mirrored))


def test_the_interval_of_no_messages() -> None:
    assert share_interval(0, 0) == Interval(0, 1)
    assert share_interval(1, 10) == pytest.approx((0.0179, 0.4042), abs=2e-4)


def test_differences_are_paired() -> None:
    scores, spam = made_up(3)
    ours = resample(scores, spam, 0.5, resamples=100)
    moved = resample(scores**1.5, spam, 0.5**1.5, resamples=100)
    found = differences(ours, moved)
    for name in ("accuracy", "f1", "auc", "recall", "mcc"):
        assert found[name] == pytest.approx((0, 0))
    assert found["loss"].low < found["loss"].high
    worse = resample(np.random.default_rng(1).random(len(spam)), spam, 0.5, resamples=100)
    assert differences(ours, worse)["auc"].low > 0.2
