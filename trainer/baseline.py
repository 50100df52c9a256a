"""What there is to beat: a linear SVM over TF-IDF of words and of characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_union
from sklearn.svm import LinearSVC

from filterd.errors import DataError
from trainer.calibration import Floats
from trainer.dataset import Message
from trainer.evaluation import Evaluation, judge, truth

NAME = "TF-IDF + linear SVM"
THRESHOLD = 0.5
FOLDS = 5
SEED = 123


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fitted baseline: scikit-learn's features and its calibrated classifier."""

    features: Any
    classifier: Any
    threshold: float = THRESHOLD

    def score(self, messages: Sequence[Message]) -> Floats:
        """P(spam) of each message, (B,)."""
        if not messages:
            return np.empty(0)
        rows = self.features.transform([message.text for message in messages])
        scores: Floats = self.classifier.predict_proba(rows)[:, 1]
        return scores

    def judge(self, messages: Sequence[Message]) -> Evaluation:
        """Measure it on messages it was not fitted on."""
        return judge(self.score(messages), truth(messages), self.threshold)


def fit(train: Sequence[Message]) -> Baseline:
    """Fit on a training split; the same messages give the same baseline.

    Margins of the SVM become probabilities by a sigmoid (Platt, 1999) fitted to margins of folds
    that each SVM did not see. Raises DataError below 2 messages of a label.
    """
    counts = Counter(message.label for message in train)
    fewest = min(counts["spam"], counts["ham"])
    if fewest < 2:
        raise DataError(f"the baseline takes 2 spam and 2 ham to train on: found {dict(counts)}")
    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=SEED)
    machine = LinearSVC(random_state=SEED, max_iter=10_000)
    classifier = CalibratedClassifierCV(machine, method="sigmoid", cv=folds, ensemble=False)
    classifier.fit(features.fit_transform([message.text for message in train]), truth(train))
    return Baseline(features, classifier)
