"""The classifier: the starter's verdicts, in order, by a threshold that can be the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from filterd.classifier import Classifier
from tests.engines import one_thread

WINNER = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def starter() -> Classifier:
    return Classifier.load(device="cpu")


def test_example_of_the_article_is_spam(starter: Classifier) -> None:
    (verdict,) = starter.classify([WINNER])
    assert verdict.label == "spam"
    assert verdict.score >= verdict.threshold == starter.engine.manifest.threshold
    assert verdict.model == starter.engine.manifest.version


def test_verdicts_keep_the_order(starter: Classifier) -> None:
    ham = "Ok, see you at home for dinner then"
    labels = [verdict.label for verdict in starter.classify([ham, WINNER, ham, ham, WINNER])]
    assert labels == ["ham", "spam", "ham", "ham", "spam"]
    assert starter.classify([]) == []


def test_threshold_is_the_artifacts_or_the_callers(tiny: Path) -> None:
    assert Classifier.load(tiny).threshold == 0.5
    (score,) = Classifier.load(tiny).engine.score_texts(["text"])
    for threshold, label in ((0.0, "spam"), (score, "spam"), (min(1.0, score + 1e-6), "ham")):
        classifier = Classifier.load(str(tiny), device="cpu", threshold=threshold)
        (verdict,) = classifier.classify(["text"])
        assert (verdict.label, verdict.threshold) == (label, threshold)
