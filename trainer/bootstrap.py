"""How far a measure can be trusted: 95% intervals by resampling the messages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from trainer.calibration import Floats, bin_starts
from trainer.measures import LOW_RATES, MEASURED, Measures, Ranked, rank, statistics

RESAMPLES = 1000
SEED = 123
TAIL = 2.5
Z = 1.96
CELLS = 1_000_000
"""Messages drawn at a time: what bounds the memory, whatever the set's size."""
NO_SPREAD = "no errors to resample"


class Interval(NamedTuple):
    """The 95% interval of a measure."""

    low: float
    high: float


def resample(
    scores: Floats, spam: Floats, threshold: float, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Floats]:
    """Each measure, (resamples,), of as many ham and as much spam drawn with replacement.

    Stratified: the share of spam is the set's, not chance. Two classifiers of the same messages
    see the same draws, so that their differences are paired.
    """
    ranked = rank(scores, spam, threshold)
    parts = [statistics(ranked, weights) for weights in _draws(ranked, resamples, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def intervals(
    measures: Measures, samples: Mapping[str, Floats], scores: Floats
) -> tuple[dict[str, Interval], dict[str, str]]:
    """The interval of each measure, and why there is none for those that have none.

    Percentiles of the resamples, but for two. Calibration error is a sum of distances, which
    resampling tends to enlarge, so its resamples are mirrored at the value (the basic bootstrap),
    and it may be 0 where it is no larger than chance makes it.
    A share without errors does not vary in resamples, which is no certainty: Wilson's interval.
    """
    counts = _denominators(measures)
    found: dict[str, Interval] = {}
    missing: dict[str, str] = {}
    for name, sample in samples.items():
        value = getattr(measures, name)
        low, high = (float(end) for end in np.percentile(sample, [TAIL, 100 - TAIL]))
        if name == "calibration_error":
            low, high = min(value, 2 * value - high), max(value, 2 * value - low)
            low = 0.0 if value <= chance_error(scores) else max(0.0, low)
        elif np.ptp(sample) == 0:
            if name not in counts:
                missing[name] = NO_SPREAD
                continue
            low, high = share_interval(round(value * counts[name]), counts[name])
        found[name] = Interval(low, high)
    return found, missing


def differences(ours: Mapping[str, Floats], theirs: Mapping[str, Floats]) -> dict[str, Interval]:
    """95% intervals of ours minus theirs, from resamples of the same messages."""
    found: dict[str, Interval] = {}
    for name in MEASURED:
        if name in ours and name in theirs:
            ends = np.percentile(ours[name] - theirs[name], [TAIL, 100 - TAIL])
            found[name] = Interval(*(float(end) for end in ends))
    return found


def share_interval(hits: float, count: int) -> Interval:
    """Wilson's 95% interval of a share of ``count`` messages; all of 0 to 1 where there are none.

    It does not shrink to a point at 0 and 1.
    """
    if not count:
        return Interval(0.0, 1.0)
    share, weight = hits / count, Z * Z / count
    middle = (share + weight / 2) / (1 + weight)
    reach = math.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    low = middle - reach if hits > 0 else 0.0
    return Interval(max(0.0, low), min(1.0, middle + reach) if hits < count else 1.0)


def chance_error(scores: Floats, resamples: int = RESAMPLES, seed: int = SEED) -> float:
    """The calibration error that perfectly calibrated scores (N,) exceed in 2.5% of sets.

    Found by drawing the truth from the scores (the consistency of Bröcker and Smith, 2007).
    """
    ranked = np.sort(scores)
    bins, stream = bin_starts(ranked), np.random.default_rng(seed)
    errors: list[Floats] = []
    for rows in _rows(len(ranked), resamples):
        drawn = stream.random((rows, len(ranked))) < ranked
        gaps = np.add.reduceat(ranked - drawn, bins, axis=1)
        errors.append(np.abs(gaps).sum(1) / len(ranked))
    return float(np.percentile(np.concatenate(errors), 100 - TAIL))


def _denominators(measures: Measures) -> dict[str, int]:
    """Of how many messages each measure is a share."""
    return {
        "accuracy": measures.rows,
        "precision": measures.spam_found + measures.ham_blocked,
        "recall": measures.spam,
        "false_positive_rate": measures.ham,
        **dict.fromkeys(LOW_RATES, measures.spam),
    }


def _draws(ranked: Ranked, resamples: int, seed: int) -> Iterator[Floats]:
    """Weights (R, N) in ranked order, R as many as fit into CELLS, until all are drawn.

    Drawn in the caller's order, each label from a stream of its own: the draws depend on nothing
    but the labels and the seed.
    """
    truth = np.empty_like(ranked.spam)
    truth[ranked.order] = ranked.spam
    places = [np.flatnonzero(truth == label) for label in (0, 1)]
    streams = [np.random.default_rng([seed, label]) for label in (0, 1)]
    for rows in _rows(len(truth), resamples):
        weights = np.zeros((rows, len(truth)))
        for place, stream in zip(places, streams, strict=True):
            if len(place):
                weights[:, place] = _counts(stream, rows, len(place))
        yield weights[:, ranked.order]


def _rows(count: int, resamples: int) -> Iterator[int]:
    """How many resamples of ``count`` messages to draw at a time."""
    at_a_time = max(1, CELLS // count)
    for start in range(0, resamples, at_a_time):
        yield min(at_a_time, resamples - start)


def _counts(stream: np.random.Generator, rows: int, count: int) -> Floats:
    """How often each of ``count`` is among ``count`` drawn with replacement, (rows, count)."""
    drawn = stream.integers(count, size=(rows, count))
    drawn += np.arange(rows)[:, None] * count
    return np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(float)
