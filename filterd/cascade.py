"""A cascade: a small model answers what it is sure of, a large one the rest."""

from __future__ import annotations

from dataclasses import dataclass

from filterd.engine import Engine

FAST, LARGE = "fast", "large"


@dataclass(frozen=True, slots=True)
class Stage:
    """One model of a classifier.

    name: what verdicts call it, empty where it is the only one · low, high: scores from low up to
    below high go on to the next stage.
    """

    engine: Engine
    name: str = ""
    low: float = 0.0
    high: float = 0.0

    def answers(self, score: float) -> bool:
        """Whether it is sure of a message with this score."""
        return score < self.low or score >= self.high


def stages(fast: Engine | None, large: Engine, threshold: float) -> tuple[Stage, ...]:
    """The stages of an artifact's engines, the fast one first.

    The band holds the threshold, also another than the artifact's own: so a fast answer's label
    is what its score says under the threshold.
    """
    band = large.manifest.cascade
    if fast is None or band is None:
        return (Stage(large),)
    low, high = min(band.low, threshold), max(band.high, threshold)
    return Stage(fast, FAST, low, high), Stage(large, LARGE)
