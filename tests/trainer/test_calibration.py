"""The fitted temperature is the one with the lowest loss."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.calibration import fit_temperature, loss, margins


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_recovers_the_temperature(true: float) -> None:
    rng = np.random.default_rng(5)
    calm = rng.normal(0, 2, 20_000)
    spam = (rng.random(20_000) < 1 / (1 + np.exp(-calm))).astype(float)
    found = fit_temperature(calm * true, spam)
    assert found == pytest.approx(true, rel=0.05)
    lowest = loss(calm * true, spam, found)
    assert lowest <= min(loss(calm * true, spam, found * factor) for factor in (0.9, 1.1))


def test_perfect_separation_stays_finite() -> None:
    found = fit_temperature(np.array([-3.0, 4.0]), np.array([0.0, 1.0]))
    assert 0.01 < found < 0.1


def test_margins_undo_the_sigmoid() -> None:
    wanted = np.array([-5.0, 0.0, 3.0])
    assert margins(1 / (1 + np.exp(-wanted))) == pytest.approx(wanted)
    assert np.isfinite(margins(np.array([0.0, 1.0]))).all()
