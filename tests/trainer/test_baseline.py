"""The baseline learns, is reproducible, and says when it cannot be fitted."""

from __future__ import annotations

import numpy as np
import pytest

from filterd.errors import DataError
from trainer import baseline
from trainer.dataset import Message


def test_it_learns_what_it_is_shown(small: list[Message]) -> None:
    train, rest = small[::2], small[1::2]
    found = baseline.fit(train)
    scores = found.score(rest)
    assert ((scores > 0) & (scores < 1)).all()
    measured = found.judge(rest)
    assert measured.measures.accuracy >= 0.95
    assert measured.threshold == found.threshold == 0.5
    assert (measured.scores == scores).all()


def test_the_same_messages_give_the_same_scores(small: list[Message]) -> None:
    first, again = (baseline.fit(small).score(small) for _ in range(2))
    assert (first == again).all()


def test_it_reads_characters_within_words(small: list[Message]) -> None:
    unknown = [Message("freeprizes cashawards", "spam", 1), Message("hellomum lunching", "ham", 2)]
    spam, ham = baseline.fit(small).score(unknown)
    assert spam > ham


def test_probabilities_mean_something() -> None:
    rng = np.random.default_rng(1)
    texts = [
        f"{'offer' if n % 2 else 'hello'} {' '.join(map(str, rng.choice(50, 4)))}"
        for n in range(400)
    ]
    flipped = rng.random(400) < 0.2
    messages = [
        Message(text, "spam" if (n % 2 == 1) != flip else "ham", n)
        for n, (text, flip) in enumerate(zip(texts, flipped, strict=True))
    ]
    found = baseline.fit(messages[:300]).judge(messages[300:])
    assert 0.6 < np.maximum(found.scores, 1 - found.scores).mean() < 0.9


def test_few_messages_of_a_label(small: list[Message]) -> None:
    spam = [message for message in small if message.label == "spam"]
    few = [*small[:30], *spam[:2]]
    assert len(baseline.fit(few).score(few)) == len(few)
    assert baseline.fit(few).score([]).shape == (0,)
    with pytest.raises(DataError, match="2 spam and 2 ham"):
        baseline.fit([*small[:30], spam[0]])
