"""Evaluation: an artifact scores a split through the engine that serves it, and is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from sklearn import metrics
from tqdm import tqdm

from filterd.artifact import Artifact
from filterd.engine import Engine
from trainer import calibration
from trainer.calibration import Floats
from trainer.dataset import Message

CHUNK = 256


@dataclass(frozen=True, slots=True)
class Measures:
    """How good an artifact is on a split; spam is the positive class.

    loss: mean cross-entropy of the scores, in nats. The last four are counts of messages.
    """

    rows: int
    accuracy: float
    f1: float
    precision: float
    recall: float
    mcc: float
    auc: float
    loss: float
    spam_found: int
    spam_missed: int
    ham_kept: int
    ham_blocked: int

    def named(self, prefix: str) -> dict[str, float]:
        """For the manifest: ``test_f1`` and so on, rounded to six decimals."""
        return {f"{prefix}_{name}": round(value, 6) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures, with each message's score and truth, (B,), in the split's order."""

    measures: Measures
    scores: Floats
    spam: Floats


def score(artifact: Artifact, messages: Sequence[Message]) -> Floats:
    """P(spam) of each message, (B,), in fp32 on the CPU."""
    engine = Engine(artifact, device="cpu", precision="fp32")
    texts = [message.text for message in messages]
    scores: list[float] = []
    bar = tqdm(total=len(texts), desc="scoring", disable=None, leave=False, unit="message")
    with bar:
        for start in range(0, len(texts), CHUNK):
            scores += engine.score_texts(texts[start : start + CHUNK])
            bar.update(len(texts[start : start + CHUNK]))
    return np.array(scores)


def truth(messages: Sequence[Message]) -> Floats:
    """1 for spam and 0 for ham, (B,)."""
    return np.array([float(message.label == "spam") for message in messages])


def evaluate(artifact: Artifact, messages: Sequence[Message]) -> Evaluation:
    """Score a split that holds both labels and measure it at the artifact's threshold."""
    scores, spam = score(artifact, messages), truth(messages)
    return Evaluation(measure(scores, spam, artifact.manifest.threshold), scores, spam)


def measure(scores: Floats, spam: Floats, threshold: float) -> Measures:
    """Measure scores (B,) against the truth (B,); a score of the threshold is spam."""
    said = (scores >= threshold).astype(float)
    (kept, blocked), (missed, found) = metrics.confusion_matrix(spam, said, labels=[0.0, 1.0])
    return Measures(
        rows=len(spam),
        accuracy=float(metrics.accuracy_score(spam, said)),
        f1=float(metrics.f1_score(spam, said, zero_division=0.0)),
        precision=float(metrics.precision_score(spam, said, zero_division=0.0)),
        recall=float(metrics.recall_score(spam, said, zero_division=0.0)),
        mcc=float(metrics.matthews_corrcoef(spam, said)),
        auc=float(metrics.roc_auc_score(spam, scores)),
        loss=calibration.loss(calibration.margins(scores), spam),
        spam_found=int(found),
        spam_missed=int(missed),
        ham_kept=int(kept),
        ham_blocked=int(blocked),
    )
