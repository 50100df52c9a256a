"""Measures against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation import measure


def test_measures() -> None:
    scores = np.array([0.9, 0.5, 0.4, 0.1, 0.7, 0.2])
    spam = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    found = measure(scores, spam, 0.5)
    counts = (found.spam_found, found.spam_missed, found.ham_kept, found.ham_blocked)
    assert counts == (2, 1, 2, 1)
    assert found.rows == 6
    assert found.accuracy == found.f1 == found.precision == found.recall == pytest.approx(2 / 3)
    assert found.mcc == pytest.approx(1 / 3)
    assert found.auc == pytest.approx(7 / 9)
    by_hand = -np.log([0.9, 0.5, 0.4, 0.9, 0.3, 0.8]).mean()
    assert found.loss == pytest.approx(by_hand)
    assert found.named("test")["test_f1"] == 0.666667


def test_nothing_called_spam() -> None:
    found = measure(np.array([0.1, 0.2]), np.array([0.0, 1.0]), 0.5)
    assert (found.f1, found.precision, found.recall) == (0, 0, 0)
