"""Measures against counts made by hand, against scikit-learn, and where nothing can be told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from filterd.errors import DataError
from trainer.calibration import Floats
from trainer.measures import LOW_RATES, MEASURED, Measures, measure, rank, reasons, statistics

THRESHOLDS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@st.composite
def scored(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Scores, often equal ones, and a truth with both labels."""
    size = draw(st.integers(2, 60))
    scores = draw(st.lists(st.integers(0, 12), min_size=size, max_size=size))
    spam = draw(st.lists(st.booleans(), min_size=size - 2, max_size=size - 2))
    return np.array(scores) / 12, np.array([0, 1, *spam], dtype=float)


def test_measures() -> None:
    scores = np.array([0.9, 0.5, 0.4, 0.1, 0.7, 0.2])
    spam = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    found = measure(scores, spam, 0.5)
    counts = (found.spam_found, found.spam_missed, found.ham_kept, found.ham_blocked)
    assert counts == (2, 1, 2, 1)
    assert (found.rows, found.spam, found.ham) == (6, 3, 3)
    assert found.accuracy == found.f1 == found.precision == found.recall == pytest.approx(2 / 3)
    assert found.mcc == found.false_positive_rate == pytest.approx(1 / 3)
    assert found.auc == pytest.approx(7 / 9)
    by_hand = -np.log([0.9, 0.5, 0.4, 0.9, 0.3, 0.8]).mean()
    assert found.loss == pytest.approx(by_hand)
    assert found.calibration_error == pytest.approx(abs(2.8 - 3) / 6)
    assert found.named("test")["test_f1"] == 0.666667


def test_nothing_called_spam() -> None:
    found = measure(np.array([0.1, 0.2]), np.array([0.0, 1.0]), 0.5)
    assert (found.f1, found.precision, found.recall, found.mcc) == (0, 0, 0, 0)


@settings(max_examples=50)
@given(scored(), THRESHOLDS)
def test_as_scikit_learn_measures(data: tuple[Floats, Floats], threshold: float) -> None:
    scores, spam = data
    said = (scores >= threshold).astype(float)
    found = measure(scores, spam, threshold)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(spam, said))
    assert found.f1 == pytest.approx(metrics.f1_score(spam, said, zero_division=0))
    assert found.precision == pytest.approx(metrics.precision_score(spam, said, zero_division=0))
    assert found.recall == pytest.approx(metrics.recall_score(spam, said))
    assert found.mcc == pytest.approx(metrics.matthews_corrcoef(spam, said))
    assert found.auc == pytest.approx(metrics.roc_auc_score(spam, scores))
    matrix = metrics.confusion_matrix(spam, said, labels=[0, 1]).ravel().tolist()
    assert matrix == [found.ham_kept, found.ham_blocked, found.spam_missed, found.spam_found]


@given(scored(), st.integers(0, 99))
def test_the_order_of_messages_is_nothing(data: tuple[Floats, Floats], seed: int) -> None:
    scores, spam = data
    order = np.random.default_rng(seed).permutation(len(scores))
    one, other = measure(scores, spam, 0.5), measure(scores[order], spam[order], 0.5)
    assert one.named("x") == pytest.approx(other.named("x"), abs=2e-6)


@given(scored(), THRESHOLDS, st.integers(0, 99))
def test_weights_are_repeated_messages(
    data: tuple[Floats, Floats], threshold: float, seed: int
) -> None:
    scores, spam = data
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(spam == label) for label in (0, 1)]
    drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
    ranked = rank(scores, spam, threshold)
    weights = np.bincount(drawn, minlength=len(scores)).astype(float)[ranked.order]
    found = statistics(ranked, weights[None])
    expected = measure(scores[drawn], spam[drawn], threshold)
    for name in set(found) - {"calibration_error"}:
        assert found[name][0] == pytest.approx(getattr(expected, name))


@pytest.mark.parametrize("name", LOW_RATES)
def test_recall_where_little_ham_is_blocked(name: str) -> None:
    rng = np.random.default_rng(3)
    scores = np.round(rng.beta(1, 4, 3000), 2)
    spam = np.concatenate([np.zeros(2500), np.ones(500)])
    scores[spam == 1] = np.round(rng.beta(3, 1, 500), 2)
    allowed = [
        float((scores[spam == 1] >= threshold).mean())
        for threshold in np.append(np.unique(scores), 2)
        if (scores[spam == 0] >= threshold).mean() <= LOW_RATES[name]
    ]
    assert getattr(measure(scores, spam, 0.5), name) == pytest.approx(max(allowed))


@pytest.mark.parametrize(("ham", "told"), [(999, False), (1000, True)])
def test_a_rate_takes_ham_enough_to_show_it(ham: int, told: bool) -> None:
    scores = np.append(np.linspace(0, 0.8, ham), 0.9)
    found = measure(scores, np.append(np.zeros(ham), 1.0), 0.5)
    assert found.recall_at_1_in_1000 == (1.0 if told else None)
    assert ("test_recall_at_1_in_1000" in found.named("test")) == told
    why = reasons(ham, 1).get("recall_at_1_in_1000")
    assert why == (None if told else "takes 1,000 ham, there are 999")


@pytest.mark.parametrize("label", [0.0, 1.0])
@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_one_label_is_measured_as_far_as_it_goes(label: float, scores: list[float]) -> None:
    found = measure(np.array(scores), np.full(len(scores), label), 0.5)
    called = sum(score >= 0.5 for score in scores) / len(scores)
    assert found.accuracy == pytest.approx(called if label else 1 - called)
    assert found.recall == (pytest.approx(called) if label else None)
    assert found.false_positive_rate == (None if label else pytest.approx(called))
    untold = {name for name in MEASURED if getattr(found, name) is None}
    assert untold == set(reasons(found.ham, found.spam))
    assert {"f1", "precision", "mcc", "auc", *LOW_RATES} < untold


def test_no_messages() -> None:
    with pytest.raises(DataError, match="no messages"):
        measure(np.empty(0), np.empty(0), 0.5)


def test_every_measure_has_a_place() -> None:
    assert set(MEASURED) < set(Measures.__dataclass_fields__)
