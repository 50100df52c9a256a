"""Disguises are undone; what is honestly written stays."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filterd.normalizer import normalizer

normalise = normalizer("confusables")
unaccented = normalizer("unaccented")

TRICKY = st.text(
    "aeliO о е ѕ Ѕ Я д α η ᴀ ꓐ é ё ệ \u0301\u0308\u0336\u0344\u0483\u093c\u3099\u05b0"
    "\u200b\u200c\u200d\u00ad\u202e\ufe0f\u3164\u1160\uffa0\u115f\u1100\u1161\u11a8か क ا ﷺ ﻻ ㅎ"
    "ｆ 𝐟 ⓕ 🅵 ⒡ ´ ¨ ’ — ½ ™ 😀 \x00\x7f\x85\u2028\ud800\udc00 \t\n.1_"
)


def test_none_leaves_everything_alone() -> None:
    text = "  Frее\u200b  ’money’\n"
    assert normalizer("none")(text) == text


@pytest.mark.parametrize(
    ("disguised", "plain"),
    [
        ("FR\u200bEE mo\u00adn\u2060ey\ufeff", "FREE money"),
        ("\u202eFREE\u202c now", "FREE now"),
        ("Frее mоnеу", "Free money"),
        ("Ηello frіend", "Hello friend"),
        ("сlаim yоur рrizе, саѕһ now", "claim your prize, cash now"),
        ("Ꮃin Ӏt, І did", "Win It, I did"),
        ("ꓪꓲN CAЅH", "WIN CASH"),
        ("ꜰʀᴇᴇ ᴍᴏɴᴇʏ ɢɪꜰᴛ ғᴏʀ ᴜ", "free money gift for u"),
        ("𝓕𝓻𝓮𝓮 𝗺𝗼𝗻𝗲𝘆 ｆｒｅｅ ｇｉｆｔ", "Free money free gift"),
        ("🅵🆁🅴🅴 ⓖⓘⓕⓣ ⒡⒪⒭ 🄼🄴 🅖🅞", "FREE gift for ME GO"),
        ("f̶r̶e̶e̶ h̷̛̖e̸̡͝l̵̨̛̇l̵", "free hell"),
        ("don´t “stop” — it’s 1–2…", "don't \"stop\" - it's 1-2..."),
        ("  two\u00a0 \t\nwords\u3000 ", "two words"),
        ("Get FЯЕЕ stuff", "Get FЯEE stuff"),
        ("a\x00b", "ab"),
        ("£5\x00", "£5"),
    ],
)
def test_a_disguise_is_undone(disguised: str, plain: str) -> None:
    assert normalise(disguised) == plain


@pytest.mark.parametrize(
    "text",
    [
        "Ваш счёт заблокирован, перейдите на www.site.com",
        "Пришли SMSку, у нас всё хорошо",
        "сор",
        "Тест SMS",
        "Γειά σου κόσμε, τι κάνεις",
        "Привет, Zoom вам отправил",
        "नमस्ते दुनिया, क्षत्रिय",
        "می\u200cخواهم",
        "你好,世界。",
        "오늘 뭐해, 점심 먹었어?",
        "Café naïve Łódź Tiếng Việt ß ı ñ Ångström",
        "See you at 5 😀🎉 ok £10 €3",
        "WIN fr33 c4$h 0900",
    ],
)
def test_honest_text_stays(text: str) -> None:
    assert normalise(text) == text
    assert normalise(unicodedata.normalize("NFD", text)) == text


def test_an_emoji_stays_without_what_cannot_be_seen() -> None:
    assert normalise("❤\ufe0f 👨\u200d👩\u200d👧 🇬🇧") == "❤ 👨👩👧 🇬🇧"


@given(st.text(st.characters()) | TRICKY)
@example("\u200b")
@example("\x00")
@example("\u0301")
@example("\u200b \u2060")
@example("\ufb4b\u094d\u200d")
@example("\u0f73\u200c")
@settings(max_examples=500)
def test_it_never_fails_and_changes_nothing_the_second_time(text: str) -> None:
    for folded in (normalise, unaccented):
        once = folded(text)
        assert folded(once) == once
        assert bool(once) == bool(text.strip())


@pytest.mark.parametrize(
    ("accented", "plain"),
    [
        ("Ýòûr fŕèê prĩžë", "Your free prize"),
        ("Café naïve Łódź Tiếng Việt ñ Ångström", "Cafe naive Lodz Tieng Viet n Angstrom"),
        ("Приве́т, ёлка й", "Привет, ёлка й"),
        ("नमस्ते मी‌खواहم が", normalise("नमस्ते मी‌खواहم が")),
        ("СlÁíМ yоur рrìzе", "ClAiM your prize"),
    ],
)
def test_accents_are_read_as_nothing_where_that_is_wanted(accented: str, plain: str) -> None:
    assert unaccented(accented) == plain
    assert unaccented(unicodedata.normalize("NFD", accented)) == plain


@given(TRICKY)
def test_accents_alone_make_the_difference(text: str) -> None:
    assert unaccented(normalise(text)) == unaccented(text)


@given(st.text(st.characters(max_codepoint=127, exclude_categories=("Cc",))))
def test_plain_ascii_keeps_all_but_its_spaces(text: str) -> None:
    assert normalise(text) == " ".join(text.split())


@given(st.text("авеклмнорстухАВЕКМНОРСТУХ .,", min_size=1))
def test_cyrillic_alone_stays_cyrillic(text: str) -> None:
    """Whole words of letters that look Latin are left alone where nothing is Latin."""
    assert normalise(text) == " ".join(text.split())


@pytest.mark.parametrize("marks", ["\u0301\u0323", "\u05c1\u05b0", "\u094d\u093c"])
def test_a_tower_of_marks_is_cut(marks: str) -> None:
    assert len(normalise("a" + marks * 5000)) <= 31


def test_the_data_is_read_only_where_texts_are_normalised() -> None:
    check = "import sys, filterd.normalizer as n; n.normalizer('none'); \
        assert 'confusable_homoglyphs' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
