"""Canaries: messages that an artifact must score sanely before it scores anybody else's."""

from __future__ import annotations

import math

from filterd.classifier import Classifier
from filterd.engine import CANARY, Engine
from filterd.errors import ArtifactError

CANARIES = (
    CANARY,
    "ok see you at 8, i'll bring the cake 🎂",
    "Your code is 481516. Do not share it with anyone.",
    "URGENT! You have won a £2000 prize. Call 09061701461 now to claim!!!",
    "FREE entry: txt WIN to 80086 for cash, t&c apply www.prizes.example",
    "",
)
TOLERANCE = 0.2
"""How far a device and a precision may move a score from what the trainer saw."""
ALIKE = 1e-6


def scores(engine: Engine) -> dict[str, float]:
    """P(spam) of each canary, as a manifest keeps it."""
    found = engine.score_texts(CANARIES)
    return {text: round(score, 6) for text, score in zip(CANARIES, found, strict=True)}


def check(classifier: Classifier) -> None:
    """Raise ArtifactError for scores that are none, all the same, or not those of the manifest."""
    for stage in classifier.stages:
        _check(stage.engine)


def _check(engine: Engine) -> None:
    manifest = engine.manifest
    expected = manifest.canaries
    texts = [*CANARIES, *(text for text in expected if text not in CANARIES)]
    found = dict(zip(texts, engine.score_texts(texts), strict=True))
    if not all(math.isfinite(score) and 0 <= score <= 1 for score in found.values()):
        raise ArtifactError(f"{manifest.version} gives a canary message a score that is none")
    if max(found.values()) - min(found.values()) < ALIKE:
        raise ArtifactError(f"{manifest.version} gives every canary message the same score")
    for number, (text, score) in enumerate(expected.items(), start=1):
        if abs(found[text] - score) > TOLERANCE:
            raise ArtifactError(
                f"{manifest.version} scores canary {number} {found[text]:.3f}, its manifest says "
                f"{score:.3f}: it is damaged, or this device computes wrongly"
            )
