"""One message that breaks the model does not take its batch mates along."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from filterd import artifact
from filterd.classifier import Classifier
from filterd.engine import Engine, Scores, Tokens
from filterd.entries import Answer, DeadLetter, RawEntry
from filterd.errors import ArtifactError
from filterd.metrics import Metrics
from filterd.scoring import Scorer, Work

BAD = "the one that breaks it"


class Fragile(Engine):
    """The starter's engine, which breaks on one message, or on all of them."""

    broken = False

    def score(self, batch: Sequence[Tokens]) -> Scores:
        if self.broken or self.tokenize(BAD) in batch:
            raise RuntimeError("out of range")
        return super().score(batch)


@pytest.fixture
def engine() -> Fragile:
    """An engine that breaks on one message."""
    return Fragile(artifact.load())


@pytest.fixture
def scorer(engine: Fragile) -> Scorer:
    """A scorer on it."""
    return Scorer(Classifier(engine), Metrics(CollectorRegistry()), 1000, 5)


def works(scorer: Scorer, texts: Sequence[str]) -> list[Work]:
    """Work for each text."""
    raws = [
        RawEntry(f"{number}-0", ((b"text", text.encode()),), len(text))
        for number, text in enumerate(texts)
    ]
    return [work for work in scorer.prepare_all(raws) if isinstance(work, Work)]


@pytest.mark.parametrize("place", [0, 3, 6])
def test_the_others_are_answered(scorer: Scorer, place: int) -> None:
    texts = [f"message {number}" for number in range(6)]
    texts.insert(place, BAD)
    outcomes = scorer.answer(works(scorer, texts))
    assert [outcome.entry_id for outcome in outcomes] == [f"{n}-0" for n in range(7)]
    dead = [outcome for outcome in outcomes if isinstance(outcome, DeadLetter)]
    assert dead == [DeadLetter(f"{place}-0", "poison", "scoring failed: RuntimeError", 1)]
    assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 6


def test_a_broken_engine_condemns_nobody(scorer: Scorer, engine: Fragile) -> None:
    prepared = works(scorer, ["hello", "you there"])
    engine.broken = True
    with pytest.raises(ArtifactError, match="plain message"):
        scorer.answer(prepared)


def test_an_entry_delivered_too_often_is_poison_unread(scorer: Scorer) -> None:
    raw = RawEntry("1-0", ((b"text", b"hello"),), 9, deliveries=6)
    (dead,) = scorer.prepare_all([raw])
    assert isinstance(dead, DeadLetter)
    assert (dead.reason, dead.deliveries) == ("poison", 6)
