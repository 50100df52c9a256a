"""The tokenizer: GPT-2's ids exactly, windows that cover a message, a format that is checked."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.errors import ArtifactError
from filterd.tokenizer import Tokenizer, padded, windows

DATA = Path(__file__).parents[2] / "shared" / "data"
BYTES = {bytes([byte]): byte for byte in range(256)}
MARKER = "<|endoftext|>"
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
TRICKY = st.text(
    st.sampled_from(
        " \t\n\r\u00a0\u3000\u200b'’sdtmrelv<|>éÀßıİﬁ漢字かなعرबहि👩‍🚀🇩🇪٣½²_-.#@/0129aZ"
    ),
    max_size=80,
)


def bytes_of_characters() -> dict[str, int]:
    """GPT-2's way of showing each byte as a visible character, backwards."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    visible += range(ord("®"), ord("ÿ") + 1)
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {
        chr(256 + index): byte for index, byte in enumerate(hidden)
    }


@pytest.fixture(scope="module")
def vocabulary() -> Path:
    folder = DATA / "gpt2_vocab"
    if not folder.is_dir():
        pytest.skip("the GPT-2 vocabulary is not at ../shared/data/gpt2_vocab")
    return folder


@pytest.fixture(scope="module")
def gpt2(vocabulary: Path) -> Tokenizer:
    ids = json.loads((vocabulary / "encoder.json").read_text())
    del ids[MARKER]
    table = bytes_of_characters()
    ranks = {bytes(table[character] for character in token): id_ for token, id_ in ids.items()}
    return Tokenizer.from_bytes(Tokenizer(ranks).to_bytes())


@pytest.fixture(scope="module")
def reference(vocabulary: Path, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    from transformers import GPT2Tokenizer

    folder = tmp_path_factory.mktemp("gpt2")
    (folder / "vocab.json").write_bytes((vocabulary / "encoder.json").read_bytes())
    (folder / "merges.txt").write_bytes((vocabulary / "vocab.bpe").read_bytes())
    loaded = GPT2Tokenizer.from_pretrained(folder)
    return lambda texts: loaded(texts)["input_ids"]


def test_gpt2_has_its_size_and_end_of_text(gpt2: Tokenizer) -> None:
    assert gpt2.vocab_size == 50257
    assert gpt2.end_of_text == 50256


def test_ids_equal_transformers_on_real_messages(gpt2: Tokenizer, reference) -> None:  # type: ignore[no-untyped-def]
    path = DATA / "sms_spam_collection" / "SMSSpamCollection"
    if not path.is_file():
        pytest.skip("the SMS Spam Collection is not at ../shared/data/sms_spam_collection")
    texts = [line.partition("\t")[2] for line in path.read_text().split("\n") if line]
    assert len(texts) == 5574
    assert [gpt2.encode(text) for text in texts] == reference(texts)


@settings(deadline=None)
@given(st.lists(ANY | TRICKY, min_size=1, max_size=8))
def test_ids_equal_transformers_on_any_text(gpt2: Tokenizer, reference, texts: list[str]) -> None:  # type: ignore[no-untyped-def]
    texts = [text.replace(MARKER, "") for text in texts]
    assert [gpt2.encode(text) for text in texts] == reference(texts)


@settings(deadline=None)
@given(ANY)
def test_any_text_comes_back_from_its_ids(gpt2: Tokenizer, text: str) -> None:
    tokens = {rank: token for token, rank in gpt2.ranks.items()}
    assert b"".join(tokens[id_] for id_ in gpt2.encode(text)).decode() == text


def test_lone_surrogate_is_encoded_as_the_replacement() -> None:
    tokenizer = Tokenizer(BYTES)
    assert tokenizer.encode("a\ud800b") == tokenizer.encode("a\ufffdb")


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_yields_the_end_of_text(before: str, after: str) -> None:
    tokenizer = Tokenizer(BYTES)
    ids = tokenizer.encode(before + MARKER + after)
    assert tokenizer.end_of_text not in ids
    assert len(ids) >= len(MARKER)


def test_gpt2_spells_the_marker_out(gpt2: Tokenizer) -> None:
    assert gpt2.end_of_text not in gpt2.encode(f"win {MARKER} now")


@pytest.mark.parametrize("text", ["a" * 65536, "é" * 32768, " " * 65536, "1" * 65536, "!" * 65536])
def test_longest_word_is_encoded(text: str) -> None:
    repeated = {(text[0] * count).encode() for count in (2, 4)} - BYTES.keys()
    ranks = BYTES | {token: 256 + index for index, token in enumerate(sorted(repeated, key=len))}
    tokens = {rank: token for token, rank in ranks.items()}
    ids = Tokenizer(ranks).encode(text)
    assert b"".join(tokens[id_] for id_ in ids) == text.encode()


@given(st.integers(0, 600), st.integers(2, 64))
def test_windows_cover_the_message(count: int, max_length: int) -> None:
    room = max_length - 1
    cut = windows(range(count), max_length, -1)
    assert all(len(window) <= max_length for window in cut)
    assert all(window[-1] == -1 for window in cut)
    bodies = [window[:-1] for window in cut]
    assert -1 not in {id_ for body in bodies for id_ in body}
    assert {id_ for body in bodies for id_ in body} == set(range(count))
    if len(bodies) > 1:
        assert all(len(body) == room for body in bodies)
    for body, following in pairwise(bodies):
        assert body[0] < following[0]
        assert body[-1] - following[0] + 1 >= room - max(1, room // 2)


@given(st.integers(0, 600), st.integers(3, 64), st.data())
def test_what_is_short_is_seen_whole(count: int, max_length: int, data: st.DataObject) -> None:
    room = max_length - 1
    span = min(count, room - max(1, room // 2) + 1)
    start = data.draw(st.integers(0, count - span))
    wanted = set(range(start, start + span))
    assert any(wanted <= set(window) for window in windows(range(count), max_length, -1))


@pytest.mark.parametrize("count", [0, 1, 7])
def test_message_that_fits_is_one_window(count: int) -> None:
    assert windows(range(count), 8, 99) == [[*range(count), 99]]


@given(st.lists(st.integers(0, 255), max_size=40), st.integers(1, 20))
def test_padded_has_one_length(ids: list[int], length: int) -> None:
    (window,) = padded(ids, length, 256)
    assert len(window) == length
    assert window[: len(ids)] == ids[:length]
    assert set(window[len(ids) :]) <= {256}


@given(st.sets(st.binary(min_size=2, max_size=8), max_size=50))
def test_vocabulary_survives_its_file(tokens: set[bytes]) -> None:
    ranks = BYTES | {token: 256 + index for index, token in enumerate(sorted(tokens))}
    written = Tokenizer(ranks).to_bytes()
    again = Tokenizer.from_bytes(written)
    assert again.ranks == ranks
    assert again.to_bytes() == written
    assert again.vocab_size == len(ranks) + 1


@pytest.mark.parametrize(
    "line",
    [b"", b"YQ==", b"YQ== one", b"YQ== 1 2", b"Y!== 97", b"YQ= 97", b"\xff\xfe 97", b"YQ==97"],
)
def test_damaged_line_is_named(line: bytes) -> None:
    lines = Tokenizer(BYTES).to_bytes().splitlines()
    lines[97] = line
    with pytest.raises(ArtifactError, match=r"^the vocabulary's line 98 is damaged$"):
        Tokenizer.from_bytes(b"\n".join(lines))


def test_missing_byte_is_refused() -> None:
    lines = Tokenizer(BYTES).to_bytes().splitlines()
    with pytest.raises(ArtifactError, match="lacks 1 of the 256 single bytes"):
        Tokenizer.from_bytes(b"\n".join(lines[:-1]))


@pytest.mark.parametrize("rank", [b"5", b"400", b"-1"])
def test_gap_in_the_ranks_is_refused(rank: bytes) -> None:
    extra = base64.b64encode(b"the") + b" " + rank + b"\n"
    with pytest.raises(ArtifactError, match="without a gap"):
        Tokenizer.from_bytes(Tokenizer(BYTES).to_bytes() + extra)
