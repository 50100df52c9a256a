"""Which of people's words stand, against a slow model that follows the rules one by one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.entries import Label
from filterd.errors import FeedbackError
from filterd.feedback import Correction, Withdrawal, Word, decode, encode, order, standing

IDS = [f"{ms}-{seq}" for ms in (9, 10, 200) for seq in (0, 1, 10)]


def words() -> st.SearchStrategy[list[Word]]:
    """Words with ids of their own, few texts, and withdrawals of anything, themselves too."""

    def one(id_: str) -> st.SearchStrategy[Word]:
        labels: st.SearchStrategy[Label] = st.sampled_from(["spam", "ham"])
        texts = st.sampled_from(["a", "b", "c"])
        about = st.tuples(texts, st.none()) | st.tuples(st.none(), st.sampled_from(IDS))
        return st.builds(
            lambda label, text_entry: Correction(id_, label, *text_entry), labels, about
        ) | st.builds(lambda target: Withdrawal(id_, target), st.sampled_from(IDS))

    return st.lists(st.sampled_from(IDS), unique=True).flatmap(
        lambda ids: st.tuples(*map(one, ids)).map(list)
    )


def is_withdrawn(word: Word, all_words: list[Word]) -> bool:
    """By the rule itself: a later withdrawal, not withdrawn, names it."""
    return any(
        isinstance(other, Withdrawal)
        and other.withdraws == word.id
        and order(other.id) > order(word.id)
        and not is_withdrawn(other, all_words)
        for other in all_words
    )


@given(words(), st.randoms(use_true_random=False))
def test_latest_words_stand_in_any_order(given_words: list[Word], chance: random.Random) -> None:
    expected = {}
    for word in sorted(given_words, key=lambda word: order(word.id)):
        if isinstance(word, Correction) and not is_withdrawn(word, given_words):
            expected[word.message] = word
    shuffled = chance.sample(given_words, len(given_words))
    found = standing(shuffled)
    assert {word.message: word for word in found} == expected
    assert [order(word.id) for word in found] == sorted(order(word.id) for word in found)


@given(words(), st.sampled_from(["spam", "ham"]))
def test_taking_back_the_last_word_restores_what_was(before: list[Word], label: Label) -> None:
    said: list[Word] = [*before, Correction("300-0", label, "a")]
    assert standing(said)[-1].id == "300-0"
    assert standing([*said, Withdrawal("301-0", "300-0")]) == standing(before)
    again: list[Word] = [*said, Withdrawal("301-0", "300-0"), Withdrawal("302-0", "301-0")]
    assert standing(again) == standing(said)


def test_withdrawal_of_what_comes_later_says_nothing() -> None:
    later = Correction("10-0", "spam", "a")
    assert standing([Withdrawal("9-1", "10-0"), later]) == [later]


@given(words())
def test_words_survive_their_stream(given_words: list[Word]) -> None:
    assert [decode(word.id, encode(word)) for word in given_words] == given_words


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({}, "no label"),
        ({b"label": b"SPAM", b"text": b"secret"}, "no label that is one of spam, ham"),
        ({b"label": b"ham"}, "neither a text nor an entry"),
        ({b"label": b"ham", b"entry": b"1;2"}, "entry of feedback 7-0"),
        ({b"label": b"ham", b"text": b"secret\xff"}, "not UTF-8"),
        ({b"withdraw": b"secret"}, "withdraw of feedback 7-0"),
    ],
)
def test_what_is_none_is_refused_without_showing_it(fields: dict[bytes, bytes], what: str) -> None:
    with pytest.raises(FeedbackError, match=what) as caught:
        decode("7-0", fields)
    assert "secret" not in str(caught.value)
