"""The measures of a classifier, of one set of messages or of many resamples of it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from filterd.errors import DataError
from trainer import calibration
from trainer.calibration import Floats, Places

LOW_RATES = {"recall_at_1_in_1000": 0.001, "recall_at_1_in_100": 0.01}
MEASURED = (
    *("accuracy", "f1", "precision", "recall", "false_positive_rate", "mcc", "auc"),
    *(*LOW_RATES, "calibration_error", "loss"),
)
"""Every measure that has an interval, in the order that people read them."""
LOWER_IS_BETTER = frozenset({"false_positive_rate", "calibration_error", "loss"})


@dataclass(frozen=True, slots=True)
class Measures:
    """How good a classifier is on a set; spam is the positive class. None: cannot be told.

    Precision is 0 where nothing was called spam, and MCC where all was called the same.
    recall_at_1_in_1000: the share of spam found by the threshold that blocks at most 0.1% of this
    set's ham. calibration_error: see ``calibration.expected_calibration_error``.
    loss: mean cross-entropy of the scores, in nats. The last four are counts of messages.
    """

    rows: int
    accuracy: float
    f1: float | None
    precision: float | None
    recall: float | None
    false_positive_rate: float | None
    mcc: float | None
    auc: float | None
    recall_at_1_in_1000: float | None
    recall_at_1_in_100: float | None
    calibration_error: float
    loss: float
    spam_found: int
    spam_missed: int
    ham_kept: int
    ham_blocked: int

    @property
    def spam(self) -> int:
        """Messages that are spam."""
        return self.spam_found + self.spam_missed

    @property
    def ham(self) -> int:
        """Messages that are ham."""
        return self.ham_kept + self.ham_blocked

    def named(self, prefix: str) -> dict[str, float]:
        """For the manifest: ``test_f1`` and so on, rounded; without what cannot be told."""
        values = asdict(self).items()
        return {f"{prefix}_{name}": round(value, 6) for name, value in values if value is not None}


@dataclass(frozen=True, slots=True)
class Ranked:
    """Messages by ascending score, ready to be measured again and again.

    scores, spam, losses (N,) · order (N,): each one's place in the caller's order · ties: where
    each run of equal scores begins · bins: of the calibration error · called: the first that is
    called spam.
    """

    scores: Floats
    spam: Floats
    losses: Floats
    order: Places
    ties: Places
    bins: Places
    called: int

    @property
    def counts(self) -> tuple[int, int]:
        """Messages that are ham, and that are spam."""
        spam = int(self.spam.sum())
        return len(self.spam) - spam, spam


def rank(scores: Floats, spam: Floats, threshold: float) -> Ranked:
    """Sort scores (N,) with their truth (N,), 1 for spam. Raises DataError where there are none."""
    if not len(scores):
        raise DataError("no messages to measure: give at least one")
    order = np.argsort(scores, kind="stable")
    ascending, truth = scores[order], spam[order]
    return Ranked(
        scores=ascending,
        spam=truth,
        losses=calibration.losses(calibration.margins(ascending), truth),
        order=order,
        ties=np.flatnonzero(np.diff(ascending, prepend=-np.inf)),
        bins=calibration.bin_starts(ascending),
        called=int(np.searchsorted(ascending, threshold, side="left")),
    )


def measure(scores: Floats, spam: Floats, threshold: float) -> Measures:
    """Measure scores (N,) against the truth (N,); a score of the threshold is spam."""
    ranked = rank(scores, spam, threshold)
    found = statistics(ranked, np.ones((1, len(scores))))
    values: dict[str, float | None] = dict.fromkeys(MEASURED)
    values |= {name: float(value[0]) for name, value in found.items()}
    called = ranked.spam[ranked.called :]
    hits = int(called.sum())
    n_ham, n_spam = ranked.counts
    counts = (hits, n_spam - hits, n_ham - len(called) + hits, len(called) - hits)
    names = ("spam_found", "spam_missed", "ham_kept", "ham_blocked")
    return Measures(rows=len(scores), **values, **dict(zip(names, counts, strict=True)))  # type: ignore[arg-type]


def reasons(ham: int, spam: int) -> dict[str, str]:
    """Why a measure cannot be told of so many messages, for each that cannot."""
    found: dict[str, str] = {}
    for name, rate in LOW_RATES.items():
        least = round(1 / rate)
        if ham < least:
            found[name] = f"takes {least:,} ham, there are {ham:,}"
    missing = [word for word, count in (("ham", ham), ("spam", spam)) if not count]
    for word in missing:
        names = {"f1", "precision", "mcc", "auc", *LOW_RATES}
        names.add("recall" if word == "spam" else "false_positive_rate")
        found |= dict.fromkeys(names, f"there is no {word}")
    return {name: found[name] for name in MEASURED if name in found}


def statistics(ranked: Ranked, weights: Floats) -> dict[str, Floats]:
    """Each measure that can be told, (R,), of R resamples.

    weights (R, N): how often a resample holds each ranked message; every resample holds as many
    ham and as many spam as there are.
    """
    n_ham, n_spam = ranked.counts
    spam = weights * ranked.spam  # (R, N)
    ham = weights - spam
    found, blocked = spam[:, ranked.called :].sum(1), ham[:, ranked.called :].sum(1)  # (R,)
    gaps = np.add.reduceat(weights * (ranked.scores - ranked.spam), ranked.bins, axis=1)
    values = {
        "accuracy": (found + n_ham - blocked) / len(ranked.spam),
        "calibration_error": np.abs(gaps).sum(1) / len(ranked.spam),
        "loss": weights @ ranked.losses / len(ranked.spam),
    }
    if n_spam:
        values["recall"] = found / n_spam
    if n_ham:
        values["false_positive_rate"] = blocked / n_ham
    if n_ham and n_spam:
        values |= _of_decisions(found, blocked, n_ham, n_spam)
        values |= _of_order(*(np.add.reduceat(part, ranked.ties, axis=1) for part in (ham, spam)))
    return {name: values[name] for name in MEASURED if name in values}


def _of_decisions(found: Floats, blocked: Floats, n_ham: int, n_spam: int) -> Mapping[str, Floats]:
    """Measures of what was called what, from counts (R,)."""
    called = found + blocked
    missed, kept = n_spam - found, n_ham - blocked
    spread = np.sqrt(called * (missed + kept) * n_ham * n_spam)
    return {
        "precision": found / np.maximum(called, 1),
        "f1": 2 * found / (called + n_spam),
        "mcc": (found * kept - blocked * missed) / np.where(spread == 0, 1, spread),
    }


def _of_order(ham: Floats, spam: Floats) -> Mapping[str, Floats]:
    """Measures of the order alone, from counts (R, G) of each distinct score, ascending.

    AUC is the rank statistic of Mann and Whitney: pairs in the right order, ties as half.
    """
    n_ham, n_spam = int(ham[0].sum()), int(spam[0].sum())
    blocked = ham[:, ::-1].cumsum(1)[:, ::-1]  # (R, G): ham that scores at least as high
    found = spam[:, ::-1].cumsum(1)[:, ::-1]
    right = (spam * (n_ham - blocked + ham / 2)).sum(1)
    values: dict[str, Floats] = {"auc": right / (n_ham * n_spam)}
    for name, rate in LOW_RATES.items():
        if n_ham >= round(1 / rate):
            allowed = blocked <= calibration.blockable(n_ham, rate)
            values[name] = np.where(allowed, found, 0).max(1) / n_spam
    return values
