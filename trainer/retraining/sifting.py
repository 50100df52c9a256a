"""Feedback sifted: what is learned, what is measured, and what speaks against which label."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from filterd.feedback import order
from trainer.dataset import Label, Message
from trainer.evaluation import truth
from trainer.material import Parts
from trainer.retraining.gathering import Opinion
from trainer.splitting import fold

SAMPLE = "sample"
"""The source of words on messages that were drawn at random from traffic."""

FOLDS = 5
SEED = 123
MOST_BASE = 4000
"""Prepared messages that are asked beside feedback: enough to know what ham and spam look like."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """Opinions by what they are for, each text once.

    held_out: side that is never learned, arrived since the last promotion · sample: of traffic,
    never learned · relabelled: folded texts of the prepared folder that people call otherwise,
    and how · counts: what was left out, and why.
    """

    learned: tuple[Opinion, ...]
    held_out: tuple[Opinion, ...]
    sample: tuple[Opinion, ...]
    relabelled: Mapping[str, Label]
    counts: Mapping[str, int]


def sift(opinions: Sequence[Opinion], parts: Parts, since: str, held_out: float) -> Sifted:
    """Sort opinions, oldest first. since: the last entry that an earlier promotion knew.

    Of texts that differ by case and white space alone the latest word counts. What is in the frozen
    test set is neither learned nor measured again, and its label there stays.
    """
    latest = {fold(opinion.text): opinion for opinion in opinions}
    test = {fold(message.text): message.label for message in parts["test"]}
    prepared = {fold(m.text): m.label for name in ("train", "validation") for m in parts[name]}
    free = {text: opinion for text, opinion in latest.items() if text not in test}
    relabelled = {
        text: opinion.label
        for text, opinion in free.items()
        if prepared.get(text, opinion.label) != opinion.label
    }
    new = {text: opinion for text, opinion in free.items() if text not in prepared}
    aside = [text for text, opinion in new.items() if _position(text) < held_out]
    sample = {text for text, opinion in new.items() if opinion.source == SAMPLE}
    unlearned = sample.union(aside)
    counts = {
        "standing": len(opinions),
        "repeated": len(opinions) - len(latest),
        "in_test": len(latest) - len(free),
        "test_disputed": sum(
            text in test and test[text] != opinion.label for text, opinion in latest.items()
        ),
        "in_prepared": len(free) - len(new),
        "relabelled": len(relabelled),
    }
    return Sifted(
        tuple(opinion for text, opinion in new.items() if text not in unlearned),
        tuple(new[text] for text in aside if text not in sample and _after(new[text].id, since)),
        tuple(new[text] for text in new if text in sample and _after(new[text].id, since)),
        relabelled,
        counts,
    )


def as_messages(opinions: Sequence[Opinion]) -> list[Message]:
    """Opinions as labelled messages, rows from 1."""
    return [Message(opinion.text, opinion.label, row) for row, opinion in enumerate(opinions, 1)]


def relabel(messages: Sequence[Message], labels: Mapping[str, Label]) -> list[Message]:
    """Messages of the prepared folder with the latest word of people."""
    return [Message(m.text, labels.get(fold(m.text), m.label), m.row) for m in messages]


def doubtful(opinions: Sequence[Opinion], base: Sequence[Message]) -> list[Opinion]:
    """Opinions that a model which has not seen them contradicts with confidence, surest first.

    Out-of-fold probabilities over all messages, each label's threshold being the mean of what its
    own messages get (confident learning; Northcutt et al., 2021). To be contradicted at all is not
    enough: of a new kind of spam, corrected because it was missed, half was (tests/e2e/test_life).
    """
    if not opinions:
        return []
    chosen = sorted(base, key=lambda message: _position(fold(message.text)))[:MOST_BASE]
    messages = [*as_messages(opinions), *chosen]
    spam = truth(messages)
    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
        LogisticRegression(C=10.0, max_iter=1000),
    )
    few = int(min(spam.sum(), len(spam) - spam.sum()))
    folds = StratifiedKFold(max(2, min(FOLDS, few)), shuffle=True, random_state=SEED)
    found = cross_val_predict(
        model, [message.text for message in messages], spam, cv=folds, method="predict_proba"
    )  # (N, 2)
    means = np.array([found[spam == label, label].mean() for label in (0, 1)])
    other = 1 - spam[: len(opinions)].astype(int)
    against = found[np.arange(len(opinions)), other]
    wrong = (against >= means[other]) & (against > 0.5)
    return [opinions[place] for place in np.argsort(-against, kind="stable") if wrong[place]]


def _after(id_: str, since: str) -> bool:
    return order(id_) > order(since)


def _position(text: str) -> float:
    """Where a folded text stands between 0 and 1, whatever else there is."""
    return int.from_bytes(hashlib.sha256(f"held out\n{text}".encode()).digest()[:8]) / 2**64
