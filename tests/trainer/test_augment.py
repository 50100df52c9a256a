"""Alterations of messages: each does its one job, and none spoils a text."""

from __future__ import annotations

import random
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.normalizer import normalizer
from trainer.augment import ALL, ALTERATIONS, DISGUISES, alter, cut, join

SEEDS = range(60)
TEXT = (
    "Hi Anna! Call 09061 701461 or go to www.win-big.co.uk/now, you have won £1000. Reply STOP 😀"
)
ENGLISH = st.lists(
    st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'.,!?0£é", max_size=9), max_size=20
).map(" ".join)
ANY = st.text(st.characters())  # lone surrogates too
normalise = normalizer("confusables")


def outcomes(name: str, text: str) -> list[str]:
    return [ALTERATIONS[name](text, random.Random(seed)) for seed in SEEDS]


@pytest.mark.parametrize("name", ALL)
@given(text=ANY | ENGLISH, seed=st.integers(0, 999))
def test_any_text_is_altered_alike_for_one_seed_and_never_lost(
    name: str, text: str, seed: int
) -> None:
    altered = ALTERATIONS[name](text, random.Random(seed))
    assert altered == ALTERATIONS[name](text, random.Random(seed))
    assert altered.strip() or not text.strip()


@pytest.mark.parametrize("name", ALL)
def test_each_alteration_changes_a_message_that_has_what_it_changes(name: str) -> None:
    assert len(set(outcomes(name, TEXT)) - {TEXT}) >= 2


@given(ANY | ENGLISH, st.integers(0, 999))
def test_what_cannot_be_seen_is_undone_by_the_normalizer(text: str, seed: int) -> None:
    assert normalise(ALTERATIONS["zero_width"](text, random.Random(seed))) == normalise(text)


@given(ENGLISH, st.integers(0, 999))
def test_look_alikes_are_undone_by_the_normalizer(text: str, seed: int) -> None:
    altered = ALTERATIONS["lookalikes"](text, random.Random(seed))
    assert normalise(altered) == normalise(text)


def test_look_alikes_are_not_latin_letters() -> None:
    altered = "".join(outcomes("lookalikes", "the quick brown fox jumps over the lazy dog"))
    assert sum(not letter.isascii() for letter in altered) > 0.1 * len(altered)


@given(ENGLISH, st.integers(0, 999))
def test_accents_come_off_again(text: str, seed: int) -> None:
    def bare(text: str) -> str:
        apart = unicodedata.normalize("NFD", text).translate(str.maketrans("øØđĐłŁħĦ", "oOdDlLhH"))
        return "".join(letter for letter in apart if not unicodedata.combining(letter))

    altered = ALTERATIONS["accents"](text, random.Random(seed))
    assert bare(altered) == bare(text)
    assert len(altered) == len(text)


@given(ENGLISH, st.integers(0, 999))
def test_accents_are_undone_by_the_starters_normalizer(text: str, seed: int) -> None:
    unaccented = normalizer("unaccented")
    assert unaccented(ALTERATIONS["accents"](text, random.Random(seed))) == unaccented(text)


def test_accents_are_left_by_the_normalizer() -> None:
    altered = ALTERATIONS["accents"]("next winner " * 20, random.Random(2))
    assert normalise(altered) == altered.strip()
    assert not altered.isascii()


@given(st.text("ab 0123456789£,.-"), st.integers(0, 999))
def test_other_digits_keep_the_shape(text: str, seed: int) -> None:
    altered = ALTERATIONS["digits"](text, random.Random(seed))
    assert re.sub(r"[0-9]", "0", altered) == re.sub(r"[0-9]", "0", text)
    for before, after in zip(
        re.findall("[0-9]+", text), re.findall("[0-9]+", altered), strict=True
    ):
        assert (before[0] == "0") == (after[0] == "0")
        assert not before.endswith("00") or after.endswith("00")


@given(st.lists(st.text("abc", min_size=1), max_size=30), st.integers(0, 999))
def test_a_truncated_text_keeps_five_words_and_either_end(words: list[str], seed: int) -> None:
    kept = ALTERATIONS["truncate"](" ".join(words), random.Random(seed)).split()
    assert min(5, len(words)) <= len(kept) <= max(5, 0.9 * len(words) + 1)
    assert kept in (words[: len(kept)], words[len(words) - len(kept) :])


def test_case_changes_nothing_but_the_case() -> None:
    assert {text.lower() for text in outcomes("case", TEXT)} == {TEXT.lower()}


@given(st.text("abcdefgh \n", max_size=60), st.integers(0, 999))
def test_spacing_changes_nothing_but_spaces(text: str, seed: int) -> None:
    altered = ALTERATIONS["spacing"](text, random.Random(seed))
    assert altered.replace(" ", "") == text.replace(" ", "")


@given(st.text("abcdefgh \n", max_size=60), st.integers(0, 999))
def test_spelling_out_adds_marks_between_letters(text: str, seed: int) -> None:
    altered = ALTERATIONS["spelt_out"](text, random.Random(seed))
    assert re.sub(r"[ ._*-]", "", altered) == text.replace(" ", "")


def test_words_are_dropped_in_order() -> None:
    text = "one two three four five six seven eight nine ten"
    for altered in outcomes("drop_words", text):
        remaining = iter(text.split())
        assert all(word in remaining for word in altered.split())


@pytest.mark.parametrize(
    "address",
    [
        "www.txt-2-shop.com",
        "http://a.example/x?y=1",
        "HTTPS://BIT.LY/x",
        "win.co.uk",
        "t.me/joinus",
    ],
)
def test_an_address_becomes_another(address: str) -> None:
    for altered in outcomes("urls", f"Go to {address}, now. Or else"):
        assert address not in altered
        assert re.fullmatch(r"Go to \S+( (dot|\.) \S+)*, now\. Or else", altered)


@pytest.mark.parametrize(
    "text", ["No address here.Really, e.g. this", "mail ann@example.com", "1.50 at 5.30", ""]
)
def test_a_text_without_an_address_stays(text: str) -> None:
    assert set(outcomes("urls", text)) == {text}


def dialled(number: str) -> str:
    """A number's digits in the British national form."""
    return re.sub(r"^(\+|00)44", "0", re.sub(r"[ ().-]", "", number.replace("(0)", "")))


@pytest.mark.parametrize(
    "number",
    ["09061701461", "0808 145 4742", "(020) 7153 9153", "+44 (0)7797 706009", "07-1234-56789"],
)
def test_a_phone_number_stays_the_same_number(number: str) -> None:
    altered = [text[5:-4] for text in outcomes("phones", f"Call {number} now")]
    assert {dialled(other) for other in altered} == {dialled(number)}
    assert len(set(altered)) > 3


@pytest.mark.parametrize("number", ["+1 415 555 0100", "9876543210", "(415) 555-0100"])
def test_a_foreign_phone_number_keeps_its_digits(number: str) -> None:
    altered = outcomes("phones", number)
    assert {re.sub(r"\D", "", other) for other in altered} == {re.sub(r"\D", "", number)}
    assert {other.startswith("+") for other in altered} == {number.startswith("+")}


@pytest.mark.parametrize("text", ["Text WIN to 80082", "£1000 on 12/10/2024 at 10:30", "no number"])
def test_a_text_without_a_phone_number_stays(text: str) -> None:
    assert set(outcomes("phones", text)) == {text}


@given(ANY, st.integers(0, 999), st.floats(0, 1))
def test_altering_is_repeatable_and_loses_no_text(text: str, seed: int, amount: float) -> None:
    altered = alter(text, random.Random(seed), amount)
    assert altered == alter(text, random.Random(seed), amount)
    assert altered.strip() or not text.strip()


def test_the_amount_is_the_share_of_altered_messages() -> None:
    def changed(amount: float) -> int:
        rng = random.Random(0)
        return sum(alter(TEXT, rng, amount) != TEXT for _ in range(1000))

    assert changed(0) == 0
    assert 400 < changed(0.5) < 550
    assert changed(1) > 950


def test_disguises_are_made_as_often_as_asked() -> None:
    def accented(disguised: float) -> int:
        rng = random.Random(0)
        texts = [alter("the winner", rng, 1, disguised) for _ in range(2000)]
        return sum(unicodedata.normalize("NFD", text) != text for text in texts)

    assert accented(1) > 100
    assert 0.3 * accented(1) < accented(0.5) < 0.7 * accented(1)
    assert accented(0) == 0


@pytest.mark.parametrize("name", sorted(DISGUISES))
def test_without_disguises_none_is_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.augment.ALL", (name,))
    monkeypatch.setattr("trainer.augment._SHARES", {ALTERATIONS[name]: 1})
    assert {alter(TEXT, random.Random(seed), 1, 0.0) for seed in SEEDS} == {TEXT}
    assert alter(TEXT, random.Random(0), 1) != TEXT


def test_two_messages_are_joined() -> None:
    joined = {join("one", "two", random.Random(seed)) for seed in SEEDS}
    assert len(joined) > 3
    assert all(text.startswith("one") and text.endswith("two") for text in joined)


@given(st.text(), st.floats(0, 0.99), st.integers(0, 99))
def test_cutting_loses_nothing(text: str, share: float, seed: int) -> None:
    pieces = cut(text, share, random.Random(seed))
    assert "".join(pieces) == text
    assert all(pieces) or pieces == [""]
