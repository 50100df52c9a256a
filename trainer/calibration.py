"""Temperature scaling: scores that mean what they say (Guo et al., 2017)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHARPNESS = (0.05, 20.0)
STEPS = 60
NEAREST = 1e-7


def margins(scores: Floats) -> Floats:
    """Scores (B,) as log-odds, what a sigmoid turns back into them; 0 and 1 stay finite."""
    kept = scores.clip(NEAREST, 1 - NEAREST)
    odds: Floats = np.log(kept) - np.log1p(-kept)
    return odds


def fit_temperature(log_odds: Floats, spam: Floats) -> float:
    """The temperature, above 0, under which log-odds (B,) have the lowest loss.

    spam (B,): 1 for spam, 0 for ham. The loss is convex in 1/temperature, so halving an interval
    finds the lowest point, or the interval's end where the data can be told apart perfectly.
    """
    low, high = SHARPNESS
    for _ in range(STEPS):
        middle = math.sqrt(low * high)
        slope = float(np.mean((_sigmoid(middle * log_odds) - spam) * log_odds))
        low, high = (low, middle) if slope > 0 else (middle, high)
    return 1 / math.sqrt(low * high)


def loss(log_odds: Floats, spam: Floats, temperature: float = 1.0) -> float:
    """Mean cross-entropy, in nats."""
    return float(np.mean(np.logaddexp(0, (1 - 2 * spam) * log_odds / temperature)))


def _sigmoid(values: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -values))
