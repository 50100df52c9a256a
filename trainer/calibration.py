"""Scores that mean what they say: temperature, threshold, and how far off they are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from filterd.errors import DataError, SettingsError

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

SHARPNESS = (0.05, 20.0)
STEPS = 60
NEAREST = 1e-7

RATE = 0.002
"""The share of ham that ``threshold_for`` may block."""
LEAST_BLOCKED = 3
"""Blocked ham that a rate must allow: with fewer, one message more or less decides the rate."""

SURE = 0.5
"""From here on a score says spam rather than ham."""

BINS = 15
"""Of ``expected_calibration_error``: as many as Guo et al. (2017) take, to compare with others."""
LEAST_IN_BIN = 20
"""A bin's share of spam is noise below this, so that small sets have fewer bins."""

_ROUNDING = 1e-9


def margins(scores: Floats) -> Floats:
    """Scores (B,) as log-odds, what a sigmoid turns back into them; 0 and 1 stay finite."""
    kept = scores.clip(NEAREST, 1 - NEAREST)
    odds: Floats = np.log(kept) - np.log1p(-kept)
    return odds


def fit_temperature(log_odds: Floats, spam: Floats) -> float:
    """The temperature, above 0, under which log-odds (B,) have the lowest loss on doubted labels.

    spam (B,): 1 for spam, 0 for ham. Of N messages of a label one in N + 2 is taken to be of the
    other, so that a few hundred, told apart whole, do not make every score 0 or 1 (Platt, 1999).
    The loss is convex in 1/temperature, so halving an interval finds the lowest point, or the
    interval's end (temperature scaling; Guo et al., 2017).
    """
    low, high = SHARPNESS
    wanted = _doubted(spam)
    for _ in range(STEPS):
        middle = math.sqrt(low * high)
        slope = float(np.mean((_sigmoid(middle * log_odds) - wanted) * log_odds))
        low, high = (low, middle) if slope > 0 else (middle, high)
    return 1 / math.sqrt(low * high)


def scores(log_odds: Floats, temperature: float) -> Floats:
    """P(spam), (B,), of log-odds (B,)."""
    return _sigmoid(log_odds / temperature)


def losses(log_odds: Floats, spam: Floats, temperature: float = 1.0) -> Floats:
    """Each message's cross-entropy (B,), in nats."""
    found: Floats = np.logaddexp(0, (1 - 2 * spam) * log_odds / temperature)
    return found


def loss(log_odds: Floats, spam: Floats, temperature: float = 1.0) -> float:
    """Mean cross-entropy, in nats."""
    return float(np.mean(losses(log_odds, spam, temperature)))


def blockable(ham: int, rate: float) -> int:
    """How many of so many ham messages may be blocked at a false-positive rate."""
    return math.floor(ham * rate + _ROUNDING)


def check_rate(ham: int, rate: float) -> None:
    """Raises SettingsError for a rate outside 0 to 1, DataError for one that so few cannot show."""
    if not 0 < rate < 1:
        raise SettingsError(f"a false-positive rate of {rate:g}: give one between 0 and 1")
    if ham * rate < LEAST_BLOCKED - _ROUNDING:
        needed = math.ceil(LEAST_BLOCKED / rate - _ROUNDING)
        lowest = f"no rate below {LEAST_BLOCKED / ham:.4g}" if ham else "no rate"
        raise DataError(
            f"{ham:,} ham messages can show {lowest}: for a false-positive rate of {rate:g} "
            f"give at least {needed:,}, or allow a higher rate: false_positive_rate of the recipe "
            "(--set false_positive_rate=… where a command takes it)"
        )


def threshold_for(scores: Floats, spam: Floats, rate: float = RATE) -> float:
    """A threshold that blocks at most ``rate`` of the ham among scores (B,).

    It is the lowest, unless that is below SURE: then the highest up to SURE that finds the same
    spam, for where both are told apart whole the rate would else block ham for nothing. A score of
    the threshold is spam, so it lies midway between two scores, where all thresholds do the same
    here, or at SURE. Raises as ``check_rate`` does, and DataError where ham scores 1 so often that
    no threshold lets it pass.
    """
    ham = np.sort(scores[spam == 0])[::-1]
    check_rate(len(ham), rate)
    passing = float(ham[min(blockable(len(ham), rate), len(ham) - 1)])
    if passing >= 1:
        raise DataError(
            f"more than {rate:g} of the ham scores 1, so no threshold lets it pass: train it anew"
        )
    above = scores[scores > passing]
    threshold = _between(passing, above)
    if threshold < SURE:
        found = scores[(scores > passing) & (spam == 1)]
        lower = scores[scores < found.min()] if len(found) else scores
        threshold = max(threshold, min(SURE, _between(float(lower.max()), found)))
    return threshold


def _between(low: float, above: Floats) -> float:
    """Midway between a score and the lowest of those above it (1 where there are none)."""
    high = float(above.min()) if len(above) else 1.0
    middle = (low + high) / 2
    return middle if middle > low else high


def bin_starts(ranked: Floats) -> Places:
    """Where each bin of equal mass begins among ascending scores (N,), N > 0.

    Equal mass, for scores crowd near 0 and 1: bins of equal width leave a handful in each inner
    one, whose noise is then most of the error (Nixon et al., 2019). Equal scores share a bin, so
    there may be fewer than BINS.
    """
    count = min(BINS, max(1, len(ranked) // LEAST_IN_BIN))
    cuts = ranked[np.arange(count) * len(ranked) // count]
    return np.unique(np.searchsorted(ranked, cuts, side="left"))


def expected_calibration_error(scores: Floats, spam: Floats) -> float:
    """Mean distance of a bin's mean score from its share of spam, bins weighed by their size."""
    order = np.argsort(scores, kind="stable")
    gaps = np.add.reduceat((scores - spam)[order], bin_starts(scores[order]))
    return float(np.abs(gaps).sum() / len(scores))


def _doubted(spam: Floats) -> Floats:
    """Labels (B,) a little short of 0 and 1, the fewer there are of one the more."""
    positive = float(spam.sum())
    negative = len(spam) - positive
    return np.where(spam == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))


def _sigmoid(values: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -values))
