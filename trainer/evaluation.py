"""Evaluation: an artifact scores a split through the engine that serves it, and is measured."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from filterd.artifact import Artifact
from filterd.classifier import Classifier
from filterd.engine import Device
from filterd.metrics import SHARES
from trainer import bootstrap
from trainer.bootstrap import Interval
from trainer.calibration import Floats
from trainer.dataset import Message
from trainer.measures import Measures, measure, reasons
from trainer.progress import progress

__all__ = ["Evaluation", "Interval", "Measures", "evaluate", "judge", "measure", "score", "truth"]

CHUNK = 256
GPU_CHUNK = 4096
"""Enough for several batches, of which the next is packed while one is scored."""
SEED = 123

Scorer = Callable[[Sequence[Message]], Floats]
Alteration = Callable[[str, random.Random], str]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures, with each message's score and truth, (N,), in the split's order.

    intervals: by measure, those that have one · reasons: why others have none, or no value ·
    samples: each measure of the resamples that the intervals come from.
    """

    measures: Measures
    scores: Floats
    spam: Floats
    threshold: float
    intervals: Mapping[str, Interval]
    reasons: Mapping[str, str]
    samples: Mapping[str, Floats]

    def as_json(self) -> dict[str, Any]:
        """Measures, and beside them the intervals and reasons by measure."""
        return {
            **asdict(self.measures),
            "threshold": self.threshold,
            "score_shares": _shares(self.scores),
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "reasons": dict(self.reasons),
        }


def _shares(scores: Floats) -> list[float]:
    """How scores are spread, as the daemon's own histogram is: see ``filterd.metrics.SHARES``."""
    counts, _ = np.histogram(scores, bins=len(SHARES), range=(0, 1))
    return [round(float(count) / max(1, len(scores)), 6) for count in counts]


@dataclass(frozen=True, slots=True)
class Robustness:
    """How much spam is still found when its texts are altered.

    changed: texts that the alteration changed at all · change: of recall, against plain ·
    low, high: Wilson's 95% interval of recall.
    """

    alteration: str
    spam: int
    changed: int
    found: int
    recall: float
    low: float
    high: float
    change: float


def score(artifact: Artifact, messages: Sequence[Message]) -> Floats:
    """P(spam) of each message, (N,), in fp32 on the CPU."""
    return score_texts(artifact, [message.text for message in messages])


def score_texts(artifact: Artifact, texts: Sequence[str], device: Device = "cpu") -> Floats:
    """P(spam) of each text, (N,), in fp32; a GPU that trains makes its products in TF32."""
    classifier = Classifier.of(artifact, device=device, precision="fp32")
    size = CHUNK if device == "cpu" else GPU_CHUNK
    scores: list[float] = []
    with progress("scoring", "message", total=len(texts)) as bar:
        for start in range(0, len(texts), size):
            verdicts = classifier.classify(texts[start : start + size])
            scores += [verdict.score for verdict in verdicts]
            bar.update(len(verdicts))
    return np.array(scores)


def truth(messages: Sequence[Message]) -> Floats:
    """1 for spam and 0 for ham, (N,)."""
    return np.array([float(message.label == "spam") for message in messages])


def evaluate(artifact: Artifact, messages: Sequence[Message]) -> Evaluation:
    """Score messages and measure them at the artifact's threshold; one label is enough."""
    return judge(score(artifact, messages), truth(messages), artifact.manifest.threshold)


def judge(scores: Floats, spam: Floats, threshold: float) -> Evaluation:
    """Measure scores (N,) against the truth (N,), with intervals."""
    measures = measure(scores, spam, threshold)
    samples = bootstrap.resample(scores, spam, threshold)
    intervals, missing = bootstrap.intervals(measures, samples, scores)
    why = {**reasons(measures.ham, measures.spam), **missing}
    return Evaluation(measures, scores, spam, threshold, intervals, why, samples)


def measure_robustness(
    scorer: Scorer,
    messages: Sequence[Message],
    threshold: float,
    alterations: Mapping[str, Alteration],
    seed: int = SEED,
) -> list[Robustness]:
    """Recall of the spam among messages, plain and under each alteration; [] without spam.

    Each text is altered by a random generator of its own, so that rows do not depend on each
    other, and two classifiers are given the same texts.
    """
    spam = [message for message in messages if message.label == "spam"]
    if not spam:
        return []
    plain = _recall("plain", scorer, spam, spam, threshold)
    rows = [plain]
    for name, alter in alterations.items():
        altered = [
            replace(message, text=alter(message.text, _own_rng(seed, name, place)))
            for place, message in enumerate(spam)
        ]
        row = _recall(name, scorer, spam, altered, threshold)
        rows.append(replace(row, change=row.recall - plain.recall))
    return rows


def _recall(
    name: str,
    scorer: Scorer,
    spam: Sequence[Message],
    altered: Sequence[Message],
    threshold: float,
) -> Robustness:
    changed = sum(old.text != new.text for old, new in zip(spam, altered, strict=True))
    found = int((scorer(altered) >= threshold).sum())
    low, high = bootstrap.share_interval(found, len(spam))
    return Robustness(name, len(spam), changed, found, found / len(spam), low, high, 0.0)


def _own_rng(seed: int, name: str, place: int) -> random.Random:
    return random.Random(f"{seed} {name} {place}")  # noqa: S311 - reproducible, not secret
