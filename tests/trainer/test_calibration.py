"""The temperature with the lowest loss, the lowest threshold at a rate, the calibration error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filterd.errors import DataError, SettingsError
from trainer.calibration import (
    BINS,
    SURE,
    Floats,
    bin_starts,
    expected_calibration_error,
    fit_temperature,
    loss,
    margins,
    threshold_for,
)


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_recovers_the_temperature(true: float) -> None:
    rng = np.random.default_rng(5)
    calm = rng.normal(0, 2, 20_000)
    spam = (rng.random(20_000) < 1 / (1 + np.exp(-calm))).astype(float)
    found = fit_temperature(calm * true, spam)
    assert found == pytest.approx(true, rel=0.05)
    lowest = loss(calm * true, spam, found)
    assert lowest <= min(loss(calm * true, spam, found * factor) for factor in (0.9, 1.1))


def test_a_few_that_are_told_apart_whole_leave_doubt() -> None:
    log_odds = np.repeat([-9.0, 9.0], 300)
    found = fit_temperature(log_odds, (log_odds > 0).astype(float))
    assert 9 / found == pytest.approx(np.log(301))


def test_margins_undo_the_sigmoid() -> None:
    wanted = np.array([-5.0, 0.0, 3.0])
    assert margins(1 / (1 + np.exp(-wanted))) == pytest.approx(wanted)
    assert np.isfinite(margins(np.array([0.0, 1.0]))).all()


@st.composite
def with_ham(draw: st.DrawFn) -> tuple[Floats, Floats, float]:
    """Scores, often equal ones, their truth, and a rate that the ham can show."""
    ham = draw(st.lists(st.integers(0, 19), min_size=4, max_size=80))
    spam = draw(st.lists(st.integers(0, 20), max_size=20))
    rate = draw(st.floats(3 / len(ham), 1, exclude_max=True))
    scores = np.array([*ham, *spam]) / 20
    return scores, np.array([0.0] * len(ham) + [1.0] * len(spam)), rate


@given(with_ham())
@example((np.zeros(4), np.zeros(4), float(np.nextafter(1, 0))))
def test_the_lowest_threshold_that_blocks_no_more_ham(data: tuple[Floats, Floats, float]) -> None:
    scores, spam, rate = data
    ham = scores[spam == 0]
    found = threshold_for(scores, spam, rate)
    assert (ham >= found).mean() <= rate + 1e-9
    passing = min(score for score in ham if (ham > score).mean() <= rate + 1e-9)
    above = scores[scores > passing]
    lowest = (passing + (above.min() if len(above) else 1)) / 2
    if lowest >= SURE:
        assert found == pytest.approx(lowest)
        return
    assert lowest <= found <= SURE
    assert not np.any((scores > passing) & (scores < found) & (spam == 1))
    if found < SURE:
        next_one = scores[scores > found].min()
        assert spam[scores == next_one].any()
        assert found == pytest.approx((scores[scores < found].max() + next_one) / 2)


def test_ham_is_not_blocked_for_nothing() -> None:
    ham, spam = np.linspace(1e-20, 1e-3, 310), np.full(300, 0.999)
    labels = np.repeat([0.0, 1.0], [310, 300])
    assert threshold_for(np.append(ham, spam), labels, 0.01) == pytest.approx(0.5)
    assert threshold_for(np.append(ham, spam - 0.9), labels, 0.01) == pytest.approx(0.05)
    assert threshold_for(np.append(ham, spam[:0]), labels[:310], 0.01) == 0.5


def test_a_threshold_between_neighbours_that_touch() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    scores = np.array([low] * 9 + [high])
    spam = np.array([0.0] * 9 + [1.0])
    assert threshold_for(scores, spam, 0.34) == high


def test_a_rate_that_the_ham_cannot_show() -> None:
    scores, spam = np.linspace(0, 0.9, 1001), np.append(np.zeros(1000), 1.0)
    assert threshold_for(scores, spam, 0.003) > scores[996]
    with pytest.raises(DataError, match=r"1,000 ham .* no rate below 0\.003: .* at least 1,500"):
        threshold_for(scores, spam)
    with pytest.raises(DataError, match="0 ham messages can show no rate: "):
        threshold_for(scores[:5], np.ones(5), 0.5)
    for rate in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(SettingsError, match="between 0 and 1"):
            threshold_for(scores, spam, rate)


def test_ham_that_no_threshold_lets_pass() -> None:
    with pytest.raises(DataError, match="scores 1"):
        threshold_for(np.ones(100), np.zeros(100), 0.05)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=400))
def test_bins_hold_about_as_many_and_split_no_score(values: list[int]) -> None:
    ranked = np.sort(np.array(values)) / 9
    starts = bin_starts(ranked)
    assert starts[0] == 0
    assert len(starts) <= min(BINS, max(1, len(ranked) // 20))
    assert all(ranked[start - 1] < ranked[start] for start in starts[1:])


def test_bins_of_distinct_scores_are_of_equal_mass() -> None:
    sizes = np.diff([*bin_starts(np.linspace(0, 1, 1000)), 1000])
    assert len(sizes) == BINS
    assert sizes.max() - sizes.min() <= 1


def test_calibration_error_by_hand() -> None:
    scores = np.repeat([0.2, 0.9], 20)
    spam = np.array([1.0] * 8 + [0.0] * 12 + [1.0] * 15 + [0.0] * 5)
    found = expected_calibration_error(scores, spam)
    assert found == pytest.approx((abs(0.2 - 0.4) + abs(0.9 - 0.75)) / 2)
    assert expected_calibration_error(spam, spam) == 0
