"""Entries, verdicts and dead letters: what is read and what is written, byte for byte."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.entries import (
    VERDICT_FIELDS,
    Answer,
    DeadLetter,
    Entry,
    RawEntry,
    Verdict,
    decode,
    encode,
    wanted_fields,
)
from filterd.errors import EntryError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
CARRIED = st.dictionaries(
    st.binary().filter(lambda name: name not in (b"text", b"id")), st.binary()
)


def raw(*fields: tuple[bytes, bytes], size: int | None = None, deliveries: int = 1) -> RawEntry:
    total = sum(len(name) + len(value) for name, value in fields)
    return RawEntry("5-1", fields, total if size is None else size, deliveries)


def written(outcome: Answer | DeadLetter) -> dict[bytes, bytes]:
    parts = encode(outcome)
    fields = dict(zip(parts[::2], parts[1::2], strict=True))
    assert len(fields) * 2 == len(parts)
    return fields


def answer(score: float = 0.5, threshold: float = 0.5, **entry: object) -> Answer:
    values = {"publisher_id": None, "carried": ()} | entry
    return Answer(Entry("5-1", "text", **values), Verdict.decide(score, threshold, "m"))  # type: ignore[arg-type]


def refused(entry: RawEntry, max_bytes: int = 100) -> EntryError:
    with pytest.raises(EntryError) as caught:
        decode(entry, max_bytes)
    return caught.value


@given(TEXT, st.none() | st.binary(), CARRIED, st.integers(1, 9))
def test_what_was_published_is_what_is_read(
    text: str, own: bytes | None, carried: dict[bytes, bytes], deliveries: int
) -> None:
    fields = [*carried.items(), (b"text", text.encode())]
    if own is not None:
        fields.insert(0, (b"id", own))
    entry = decode(raw(*fields, deliveries=deliveries), 1_000_000)
    assert entry == Entry("5-1", text, own, tuple(carried.items()), deliveries)


def test_limit_itself_is_not_too_large() -> None:
    fields = (b"text", b"12345678"), (b"id", b"12")
    assert decode(raw(*fields), 16).text == "12345678"
    error = refused(raw(*fields), 15)
    assert (error.reason, error.detail) == ("too-large", "16 bytes, the limit is 15")


def test_size_counts_although_the_body_was_not_read() -> None:
    assert refused(raw(size=101)).reason == "too-large"


def test_entry_without_text() -> None:
    error = refused(raw((b"Text", b"hello"), (b"id", b"1")))
    assert (error.reason, error.detail) == ("no-text", "the entry has no field 'text'")
    assert refused(raw()).reason == "no-text"


def test_empty_text_is_a_text() -> None:
    assert decode(raw((b"text", b"")), 100).text == ""


@given(st.binary(min_size=1, max_size=50))
def test_bytes_are_utf8_or_a_dead_letter(text: bytes) -> None:
    try:
        expected = text.decode()
    except UnicodeDecodeError:
        assert refused(raw((b"text", text))).reason == "not-utf8"
    else:
        assert decode(raw((b"text", text)), 100).text == expected


def test_detail_says_where_and_shows_no_text() -> None:
    error = refused(raw((b"text", b"secret\xff")))
    assert (error.reason, error.detail) == ("not-utf8", "invalid start byte at byte 6")


def test_last_of_two_texts_counts() -> None:
    entry = decode(raw((b"text", b"first"), (b"text", b"last")), 100)
    assert (entry.text, entry.carried) == ("last", ())


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.none() | st.binary(),
    st.dictionaries(
        st.binary().filter(lambda n: n.decode("latin-1") not in VERDICT_FIELDS), st.binary()
    ),
)
def test_verdict_carries_all_it_promises(
    score: float, threshold: float, own: bytes | None, carried: dict[bytes, bytes]
) -> None:
    fields = written(answer(score, threshold, publisher_id=own, carried=tuple(carried.items())))
    assert fields.pop(b"entry") == b"5-1"
    assert fields.pop(b"id", None) == own
    assert fields.pop(b"label") == (b"spam" if score >= threshold else b"ham")
    assert float(fields[b"score"]) == pytest.approx(score, abs=5.1e-7)
    assert len(fields.pop(b"score").partition(b".")[2]) == 6
    assert math.isclose(float(fields.pop(b"threshold")), threshold, rel_tol=1e-5)
    assert fields.pop(b"model") == b"m"
    assert fields == carried


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 1.0])
def test_threshold_itself_is_spam(threshold: float) -> None:
    assert Verdict.decide(threshold, threshold, "m").label == "spam"
    assert Verdict.decide(math.nextafter(threshold, -1), threshold, "m").label == "ham"


def test_threshold_is_written_short() -> None:
    assert written(answer(threshold=0.5))[b"threshold"] == b"0.5"


def test_dead_letter_says_why() -> None:
    fields = written(DeadLetter("5-1", "too-large", "10 bytes \ud800", 3))
    assert fields == {
        b"entry": b"5-1",
        b"reason": b"too-large",
        b"detail": b"10 bytes ?",
        b"deliveries": b"3",
    }


def test_outcomes_name_their_entry() -> None:
    assert answer().entry_id == DeadLetter("5-1", "poison", "", 1).entry_id == "5-1"


def test_wanted_fields_are_those_that_are_read() -> None:
    assert wanted_fields(["user", "größe"]) == (b"text", b"id", b"user", "größe".encode())
    assert wanted_fields([]) == (b"text", b"id")
