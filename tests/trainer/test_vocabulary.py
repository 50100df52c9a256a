"""A learned vocabulary encodes any text and is the one that its learner saw."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from filterd.tokenizer import Tokenizer
from trainer.dataset import Message
from trainer.vocabulary import learn

TEXTS = ["the cat and the hat", "the bat at the flat", "it's 100% naïve, £5 each!!", "🎉 win win"]
LEARNED = learn(TEXTS * 3, 300)


def decode(tokenizer: Tokenizer, ids: list[int]) -> bytes:
    token_of = {rank: token for token, rank in tokenizer.ranks.items()}
    return b"".join(token_of[token] for token in ids)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_round_trips(text: str) -> None:
    assert decode(LEARNED, LEARNED.encode(text)) == text.encode()


def test_common_words_become_one_token() -> None:
    assert len(LEARNED.encode(" the")) == 1
    assert len(LEARNED.encode(" win")) == 1
    assert len(LEARNED.encode(" qzx")) == 4


def test_bytes_come_first_and_ranks_have_no_gap() -> None:
    assert [LEARNED.ranks[bytes([byte])] for byte in range(256)] == list(range(256))
    assert sorted(LEARNED.ranks.values()) == list(range(len(LEARNED.ranks)))
    assert LEARNED.vocab_size <= 300
    assert Tokenizer.from_bytes(LEARNED.to_bytes()).ranks == LEARNED.ranks


def test_no_merge_crosses_a_word() -> None:
    assert all(token.find(b" ", 1) == -1 for token in LEARNED.ranks if token.strip())


def test_learning_again_gives_the_same(small: list[Message]) -> None:
    texts = [message.text for message in small]
    assert learn(texts, 400).ranks == learn(texts, 400).ranks
