"""Vocabularies encode as Hugging Face's do, also odd ones; cut ones encode as before."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models

from filterd.tokenizer import DIGITS_PATTERN, GPT2_PATTERN, Tokenizer
from tests.checkpoints import TEXTS, byte_level, learned, merges_of
from trainer.pretrained import cut_vocabulary, vocabularies
from trainer.pretrained.vocabularies import BYTE_OF, Vocabulary, from_merges
from trainer.vocabulary import learn

DATA = Path(__file__).parents[3] / "shared" / "data"
ANY = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=100)
TRICKY = st.text(
    st.sampled_from(" \t\n\r\u00a0\u3000\u200b\x85\x1c'’sdtmrelv<|>éßİﬁ漢かعबहि👩🇩٣½²_-.#@/0129aZ"),
    max_size=60,
)
SPACES = st.text(st.sampled_from("   \n\t77½aé'!"), max_size=20)
CHARACTER_OF = {byte: character for character, byte in BYTE_OF.items()}


def messages() -> list[str]:
    """Over 10,000 real messages."""
    if not DATA.is_dir():
        pytest.skip("no real messages at ../shared/data")
    texts = []
    for name in ("sms_spam_collection/SMSSpamCollection", "nus_sms/nus_sms.tsv"):
        with (DATA / name).open(encoding="utf-8", newline="") as lines:
            rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            texts += [row[1] for row in rows][:5500]
    return texts


def decode(tokenizer: Tokenizer, ids: list[int]) -> bytes:
    token_of = {rank: token for token, rank in tokenizer.ranks.items()}
    return b"".join(token_of[index] for index in ids)


def mapped(vocabulary: Vocabulary, text: str) -> list[int | None]:
    """The checkpoint's ids of a text, None where it has none."""
    return [vocabulary.token_ids[index] for index in vocabulary.tokenizer.encode(text)]


@pytest.fixture(scope="module")
def gpt2() -> tuple[Vocabulary, HuggingFaceTokenizer]:
    folder = DATA / "gpt2_vocab"
    if not folder.is_dir():
        pytest.skip("the GPT-2 vocabulary is not at ../shared/data/gpt2_vocab")
    ids = json.loads((folder / "encoder.json").read_text())
    lines = (folder / "vocab.bpe").read_text().split("\n")[1:]
    merges = [(left, right) for left, right in (line.split(" ") for line in lines if line)]
    theirs = HuggingFaceTokenizer(models.BPE(vocab=ids, merges=merges))
    theirs.pre_tokenizer = byte_level(digits=False)
    found = vocabularies.of_pair(folder)
    assert found is not None
    return found, theirs


def test_gpt2_keeps_its_ids(gpt2: tuple[Vocabulary, HuggingFaceTokenizer]) -> None:
    found, _ = gpt2
    assert found.token_ids == tuple(range(50257))
    assert found.tokenizer.end_of_text == 50256


def test_gpt2_equals_tiktoken_where_it_can_be_had(
    gpt2: tuple[Vocabulary, HuggingFaceTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its two files stand in for the download, as they do in tiktoken's own cache."""
    from tiktoken import registry
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    def construct() -> dict[str, Any]:
        folder = DATA / "gpt2_vocab"
        ranks = data_gym_to_mergeable_bpe_ranks(
            str(folder / "vocab.bpe"), str(folder / "encoder.json")
        )
        special = {"<|endoftext|>": 50256}
        return {
            "name": "gpt2",
            "pat_str": GPT2_PATTERN,
            "mergeable_ranks": ranks,
            "special_tokens": special,
        }

    registry.list_encoding_names()
    monkeypatch.setattr(registry, "ENCODINGS", {})
    monkeypatch.setitem(registry.ENCODING_CONSTRUCTORS or {}, "gpt2", construct)
    found = vocabularies.of_tiktoken()
    assert found.tokenizer.ranks == gpt2[0].tokenizer.ranks
    assert found.token_ids == gpt2[0].token_ids


def test_gpt2_encodes_real_messages_as_hugging_face(
    gpt2: tuple[Vocabulary, HuggingFaceTokenizer],
) -> None:
    found, theirs = gpt2
    texts = messages()
    assert len(texts) > 10_000
    for text, encoded in zip(texts, theirs.encode_batch(texts), strict=True):
        assert found.tokenizer.encode(text) == encoded.ids


@settings(deadline=None, max_examples=300)
@given(st.one_of(ANY, TRICKY, SPACES))
def test_gpt2_encodes_any_text_as_hugging_face(
    gpt2: tuple[Vocabulary, HuggingFaceTokenizer], text: str
) -> None:
    found, theirs = gpt2
    assert found.tokenizer.encode(text) == theirs.encode(text).ids


@settings(deadline=None, max_examples=300)
@given(st.one_of(ANY, TRICKY, SPACES), st.booleans())
def test_small_vocabulary_encodes_any_text_as_hugging_face(text: str, digits: bool) -> None:
    found, theirs = SMALL[digits]
    assert mapped(found, text) == theirs.encode(text).ids


def small(digits: bool) -> tuple[Vocabulary, HuggingFaceTokenizer]:
    theirs = learned(digits)
    ids = {token: index for token, index in theirs.get_vocab().items() if "<|" not in token}
    pattern = DIGITS_PATTERN if digits else GPT2_PATTERN
    return from_merges(ids, merges_of(theirs), 0, pattern, ""), theirs


SMALL = {digits: small(digits) for digits in (False, True)}


@st.composite
def odd_merges(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Merges in no sensible order: shadowed by earlier ones, two to one token."""
    tokens = [*"abc"]
    merges: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(0, 14))):
        pair = (draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens)))
        if pair not in merges:
            merges.append(pair)
            tokens.append("".join(pair))
    return draw(st.permutations(merges))


@settings(deadline=None, max_examples=400)
@given(odd_merges(), st.lists(st.text("abc", max_size=24), max_size=6), st.sets(st.text("abc")))
def test_odd_merges_encode_as_hugging_face(
    merges: list[tuple[str, str]], texts: list[str], never_merged: set[str]
) -> None:
    products = ["".join(pair) for pair in merges]
    alphabet = sorted({*"abc", "Ġ", *never_merged, *products} - {""})
    ids = {token: index for index, token in enumerate(alphabet)}
    theirs = HuggingFaceTokenizer(models.BPE(vocab=ids, merges=merges))
    theirs.pre_tokenizer = byte_level(digits=False)
    found = from_merges(ids, merges, len(ids), GPT2_PATTERN, "")
    for text in (*texts, " ".join(texts), *products, *never_merged):
        assert mapped(found, text) == theirs.encode(text).ids


def test_bytes_that_a_vocabulary_lacks_are_encoded_all_the_same() -> None:
    ids = {character: index for index, character in enumerate("abĠ")} | {"ab": 3}
    found = from_merges(ids, [("a", "b")], 4, GPT2_PATTERN, "")
    assert mapped(found, "ab é") == [3, 2, None, None]
    assert decode(found.tokenizer, found.tokenizer.encode("ab é")) == "ab é".encode()
    assert sorted(index for index in found.token_ids if index is not None) == [0, 1, 2, 3, 4]


LEARNED = learn(TEXTS * 3, 420)
WORDS = st.lists(st.sampled_from(" ".join(TEXTS).split(" ")), max_size=12).map(" ".join)


@st.composite
def odd_ranks(draw: st.DrawFn) -> Tokenizer:
    """Tokens that merging may or may not reach, in no sensible order."""
    longer = draw(st.lists(st.text("abc", min_size=2, max_size=7), unique=True, max_size=14))
    tokens = [bytes([byte]) for byte in range(256)] + [text.encode() for text in longer]
    return Tokenizer({token: rank for rank, token in enumerate(tokens)})


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.tuples(st.just(LEARNED), st.lists(st.one_of(WORDS, TRICKY, SPACES), max_size=5)),
        st.tuples(odd_ranks(), st.lists(st.text("abc ", max_size=30), max_size=5)),
    ),
    st.one_of(ANY, TRICKY, SPACES, st.text("abc ", max_size=30)),
)
def test_cut_vocabulary_encodes_what_it_kept_as_before(
    case: tuple[Tokenizer, list[str]], other: str
) -> None:
    tokenizer, texts = case
    used = {index for text in texts for index in tokenizer.encode(text)}
    cut, old = cut_vocabulary(tokenizer, used)
    assert len(old) == cut.vocab_size
    assert old[-1] == tokenizer.end_of_text
    assert old == sorted(set(old))
    assert used | set(range(256)) <= set(old)
    for text in (*texts, other):
        ids = tokenizer.encode(text)
        if set(ids) <= set(old):
            assert [old[index] for index in cut.encode(text)] == ids
        assert decode(cut, cut.encode(text)) == text.encode()


def test_cut_vocabulary_keeps_no_more_than_it_needs() -> None:
    cut, old = cut_vocabulary(LEARNED, [*LEARNED.encode(" cat"), LEARNED.end_of_text])
    assert set(cut.ranks) <= {bytes([byte]) for byte in range(256)} | {
        part.encode() for part in (" c", "at", "ca", " ca", " cat", " c")
    }
    assert 256 < cut.vocab_size < LEARNED.vocab_size
    assert len(cut.encode(" cat")) == len(LEARNED.encode(" cat"))
    assert cut_vocabulary(LEARNED, range(LEARNED.vocab_size))[0].ranks == LEARNED.ranks
    assert old[:256] == list(range(256))


def test_cut_vocabulary_refuses_what_is_no_token() -> None:
    with pytest.raises(ValueError, match="no token 9999"):
        cut_vocabulary(LEARNED, [9999])


def test_byte_alphabet_is_that_of_byte_level_tokenizers() -> None:
    from tokenizers import pre_tokenizers

    assert sorted(BYTE_OF) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(BYTE_OF.values()) == list(range(256))
    split = byte_level(digits=False).pre_tokenize_str("é")
    assert [CHARACTER_OF[byte] for byte in "é".encode()] == list(split[0][0])
