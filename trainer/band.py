"""The band of a cascade: between which scores a fast model leaves messages to a large one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.calibration import Floats

Counts = NDArray[np.int64]

NEVER = math.nextafter(1.0, 2.0)
"""A bound that no score reaches."""


@dataclass(frozen=True, slots=True)
class Opinions:
    """What both models say of messages that neither has seen, (N,) each, and the truth.

    threshold: the large model's, from which a score is spam.
    """

    fast: Floats
    large: Floats
    spam: Floats
    threshold: float

    def pick(self, where: Sequence[int]) -> Opinions:
        """Some of the messages."""
        places = list(where)
        return Opinions(self.fast[places], self.large[places], self.spam[places], self.threshold)

    def answered(self, low: float, high: float) -> NDArray[np.bool_]:
        """Which messages the fast model answers alone, (N,)."""
        return (self.fast < low) | (self.fast >= high)

    def scores(self, low: float, high: float) -> Floats:
        """What the cascade says, (N,)."""
        return np.where(self.answered(low, high), self.fast, self.large)


def f1(scores: Floats, spam: Floats, threshold: float) -> float:
    """F1 of spam; 0 where nothing is found."""
    called = scores >= threshold
    hits = float((called * spam).sum())
    return 2 * hits / max(1.0, float(called.sum() + spam.sum()))


def fit(opinions: Opinions) -> tuple[float, float]:
    """The band, low and high, that leaves the least to the large model for no loss of F1.

    It holds the threshold: below it the fast model may call ham, from it on spam, and no other
    way round. Each bound lies midway between the scores it parts.
    """
    order = np.argsort(opinions.fast, kind="stable")
    fast, spam = opinions.fast[order], opinions.spam[order].astype(np.int64)
    called = (opinions.large[order] >= opinions.threshold).astype(np.int64)
    middle = int(np.searchsorted(fast, opinions.threshold, side="left"))
    low_cuts = _cuts(fast[:middle], fast[middle:])
    high_cuts = [len(fast) - cut for cut in _cuts(-fast[middle:][::-1], -fast[:middle][::-1])]
    # Below the low bound the large model's spam becomes ham, above the high one its ham spam.
    hits_lost, false_lost = _sums(called * spam), _sums(called * (1 - spam))
    hits_won = _sums(((1 - called) * spam)[::-1])[::-1]
    false_won = _sums(((1 - called) * (1 - spam))[::-1])[::-1]
    hits, false, positives = int((called * spam).sum()), int(called.sum()), int(spam.sum())
    false -= hits
    highs = np.array(high_cuts)
    best, found = -1, (0, len(fast))
    for low in low_cuts:
        h = hits - hits_lost[low] + hits_won[highs]
        f = false - false_lost[low] + false_won[highs]
        kept = h * (hits + false + positives) >= hits * (h + f + positives)  # F1 as before
        answered = np.where(kept, low + len(fast) - highs, -1)
        place = int(answered.argmax())
        if answered[place] > best:
            best, found = int(answered[place]), (low, int(highs[place]))
    return _bounds(fast, middle, opinions.threshold, *found)


def _sums(values: Counts) -> Counts:
    """How much lies before each place, (N + 1,)."""
    return np.concatenate((np.zeros(1, np.int64), values.cumsum()))


def _cuts(ascending: Floats, after: Floats) -> list[int]:
    """How many of the first scores can be parted from the rest: no two equal ones are."""
    whole = np.concatenate((ascending, after[:1]))
    inner = [
        cut
        for cut in range(1, len(ascending) + 1)
        if cut == len(whole) or whole[cut - 1] < whole[cut]
    ]
    return [0, *inner]


def _bounds(
    fast: Floats, middle: int, threshold: float, low: int, high: int
) -> tuple[float, float]:
    """Places among ascending scores as bounds around the threshold."""
    below, above = 0.0, NEVER
    if low:
        below = threshold if low == middle else _between(fast[low - 1], fast[low])
    if high < len(fast):
        above = threshold if high == middle else _between(fast[high - 1], fast[high])
    return below, above


def _between(one: float, above: float) -> float:
    """A bound that the lower score does not reach, and the higher does."""
    middle = float(one + above) / 2
    return middle if middle > one else float(above)
