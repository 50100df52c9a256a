"""Folds are even, blind to the order, and never split a text."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.errors import DataError, SettingsError
from trainer.dataset import Message
from trainer.folds import stratified
from trainer.splitting import fold

SIZES = st.tuples(st.integers(2, 6), st.integers(0, 30), st.integers(0, 30), st.integers(0, 9))

MESSAGES = st.builds(Message, st.text(max_size=2), st.sampled_from(["ham", "spam"]), st.just(9))


def made(spam: int, ham: int) -> list[Message]:
    texts = [(f"spam {n}", "spam") for n in range(spam)] + [(f"ham {n}", "ham") for n in range(ham)]
    return [Message(t, "spam" if w == "spam" else "ham", n) for n, (t, w) in enumerate(texts, 1)]


@given(SIZES)
def test_folds_are_even(sizes: tuple[int, int, int, int]) -> None:
    k, spam, ham, seed = sizes
    messages = made(spam + k, ham + k)
    folds = stratified(messages, k, seed)
    assert set(folds) == set(range(k))
    for chosen in (("spam",), ("ham",), ("spam", "ham")):
        pairs = zip(folds, messages, strict=True)
        counts = Counter(number for number, message in pairs if message.label in chosen)
        assert max(counts.values()) - min(counts.values()) <= 1


@given(SIZES, st.randoms(use_true_random=False))
def test_the_order_of_messages_is_nothing(sizes: tuple[int, int, int, int], random: Random) -> None:
    k, spam, ham, seed = sizes
    messages = made(spam + k, ham + k)
    shuffled = random.sample(messages, len(messages))
    one = dict(zip(messages, stratified(messages, k, seed), strict=True))
    other = dict(zip(shuffled, stratified(shuffled, k, seed), strict=True))
    assert one == other


@given(
    st.lists(st.builds(Message, st.text(max_size=2), st.sampled_from(["ham", "spam"]), st.just(9)))
)
def test_a_text_is_in_one_fold(found: list[Message]) -> None:
    messages = [*made(3, 3), *found, *found]
    where: dict[str, set[int]] = {}
    for message, number in zip(messages, stratified(messages, 3, 1), strict=True):
        where.setdefault(fold(message.text), set()).add(number)
    assert all(len(numbers) == 1 for numbers in where.values())


def test_seeds_differ() -> None:
    messages = made(20, 20)
    assert stratified(messages, 4, 1) != stratified(messages, 4, 2)


def test_too_few() -> None:
    with pytest.raises(SettingsError, match="at least 2"):
        stratified(made(5, 5), 1, 0)
    with pytest.raises(DataError, match="3 distinct spam for 4 folds"):
        stratified(made(3, 9), 4, 0)
