"""Changes to a message that leave its label as it is: for training, and to test robustness.

So the model cannot lean on one number, one address, capitals, one word, or one way of cutting
words into tokens; and what spammers do to slip past a filter can be measured. Each alteration is
a pure function of a text and a random generator. A person can still read what comes out.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable
from string import ascii_letters, ascii_lowercase, ascii_uppercase
from string import digits as ten_digits

from trainer.invented import address, dialled

Alteration = Callable[[str, random.Random], str]

_NUMBER = re.compile(r"[0-9]+")
_WORD = re.compile(r"\S+")
_SPACE = re.compile(r"(?<=\S) +(?=\S)")
_LETTERS = re.compile(r"[^\W\d_]{4,}")
_LATIN = re.compile(r"[A-Za-z]{2,}")
_STOP = re.compile(r"[.,!?;:]+(?=\s|$)")
_EMOJI = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]\ufe0f? ?")
_URL = re.compile(
    r"(?:https?://|www\.)\S*[\w/]"
    r"|(?<![\w@.-])(?:[a-z0-9][a-z0-9-]*\.)+"
    r"(?:(?:com|net|org|info|biz|xyz|example|de|ru|cn|in|eu|(?:co|org|me|ltd)\.uk)(?![\w.-]*\w|@)"
    r"(?:[/?]\S*[\w/])?|[a-z]{2,8}/\S*[\w/])",
    re.IGNORECASE,
)
_PHONE = re.compile(
    r"(?<![\d£$€.,+/-])(?:(?:\+[1-9]|\(?0)(?:[ ()-]{0,2}\d){8,12}"
    r"|[1-9]\d{9,11}|\(?[2-9]\d\d\)?[ .-]{1,2}\d{3}[ .-]\d{4})(?!\w)"
)

_LEET = {"o": "0", "e": "3", "a": "@4", "i": "1!", "l": "1", "s": "$5", "t": "7"}
_LEET |= {letter.upper(): digits for letter, digits in _LEET.items()}
_ACCENTS = "\u0300\u0301\u0302\u0303\u0308\u030a\u030c\u0327"
_ACCENTED = {
    letter: [c for mark in _ACCENTS if len(c := unicodedata.normalize("NFC", letter + mark)) == 1]
    for letter in ascii_letters
}
for _plain, _stroked in zip("oOdDlLhH", "øØđĐłŁħĦ", strict=True):
    _ACCENTED[_plain].append(_stroked)
_UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_SEPARATORS = ("\n", "\n\n", " ", "  ", " - ", ". ", " | ")
_EMOJIS = "😀😂😊😍😘😉😎😭🙏👍👉👋💯🔥🎉🎁💰✨⭐❤✅⏰📱📦"

# Letters of another script among the Latin ones, and whole words in another style.
_SCATTERED = (
    dict(zip("aceijopsxydhqwkABCEHIJKMOPSTXY", "асеіјорѕхуԁһԛԝкАВСЕНІЈКМОРЅТХУ", strict=True)),
    dict(zip("aiknoptuvyABEHIKMNOPTXYZ", "αικηορτυνγΑΒΕΗΙΚΜΝΟΡΤΧΥΖ", strict=True)),
)
_STYLED = tuple(
    str.maketrans(ascii_uppercase + ascii_lowercase, "".join(map(chr, [*upper, *lower])))
    for upper, lower in (
        (range(first, first + 26), range(first + step, first + step + 26))
        for first, step in ((0xFF21, 32), *((0x1D400 + 52 * n, 26) for n in (0, 2, 4, 8, 9, 12)))
    )
)


def case(text: str, rng: random.Random) -> str:
    """Small letters, capitals, a capital first, or any mixture."""
    (kind,) = rng.choices((str.lower, str.upper, str.capitalize, None), (4, 3, 2, 1))
    if kind:
        return kind(text)
    return "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in text)


def spacing(text: str, rng: random.Random) -> str:
    """Spaces missing between words, or more of them."""
    if rng.random() < 0.5:
        return _change(text, _SPACE, rng.uniform(0.1, 0.4), lambda _: "", rng)
    return _change(text, _SPACE, rng.uniform(0.1, 0.6), lambda _: " " * rng.randint(2, 4), rng)


def spelt_out(text: str, rng: random.Random) -> str:
    """Words s p a c e d out, or s.p.e.l.t with marks between the letters; a few or many of them."""
    separator = rng.choice("   ..--_*")
    pattern, most = (_LETTERS, 0.2) if rng.random() < 0.6 else (_LATIN, 1.0)
    return _change(text, pattern, rng.uniform(0, most), separator.join, rng)


def digits(text: str, rng: random.Random) -> str:
    """Other numbers of the same shape: as long, as round, and with a leading zero or none."""

    def other(found: re.Match[str]) -> str:
        number = found[0]
        first = "0" if number[0] == "0" else rng.choice("123456789")
        round_end = number[len(number.rstrip("0")) :] if number.endswith("00") else ""
        rest = rng.choices(ten_digits, k=len(number) - 1 - len(round_end))
        return (first + "".join(rest) + round_end)[: len(number)]

    return _NUMBER.sub(other, text)


def lookalikes(text: str, rng: random.Random) -> str:
    """Letters of Cyrillic or Greek among the Latin ones, or words in full width or bold style.

    At least one letter of each word stays where letters are borrowed.
    """
    share = rng.uniform(0.15, 0.6)
    if rng.random() < 0.4:
        style = rng.choice(_STYLED)
        return _change(text, _LATIN, share * 2, lambda word: word.translate(style), rng)
    table = rng.choice(_SCATTERED)

    def borrow(found: re.Match[str]) -> str:
        kept = rng.randrange(len(found[0]))
        return "".join(
            table.get(letter, letter) if rng.random() < share and place != kept else letter
            for place, letter in enumerate(found[0])
        )

    return _LATIN.sub(borrow, text)


def accents(text: str, rng: random.Random) -> str:
    """Accents on Latin letters, which `confusables` leaves: most languages have some."""
    share = rng.uniform(0.1, 0.6)
    return "".join(
        rng.choice(among) if (among := _ACCENTED.get(letter)) and rng.random() < share else letter
        for letter in text
    )


def zero_width(text: str, rng: random.Random) -> str:
    """Characters that cannot be seen, inside words."""

    def hide(word: str) -> str:
        place = rng.randrange(1, len(word))
        return word[:place] + rng.choice(_UNSEEN) + word[place:]

    return _change(text, _LATIN, rng.uniform(0.2, 0.8), hide, rng)


def leet(text: str, rng: random.Random) -> str:
    """Digits and signs for letters that look like them, up to nearly all."""
    share = rng.uniform(0.15, 0.9)
    return "".join(
        rng.choice(_LEET[letter]) if letter in _LEET and rng.random() < share else letter
        for letter in text
    )


def urls(text: str, rng: random.Random) -> str:
    """Other addresses for those in the text, invented, in another shape."""
    if "." not in text:
        return text
    return _URL.sub(lambda _: address(rng), text)


def phones(text: str, rng: random.Random) -> str:
    """The same phone numbers, written another way."""
    return _PHONE.sub(lambda found: dialled(found[0], rng), text)


def truncate(text: str, rng: random.Random) -> str:
    """The first or the last 60 to 90 % of the words, five at least."""
    spans = [found.span() for found in _WORD.finditer(text)]
    count = max(5, round(len(spans) * rng.uniform(0.6, 0.9)))
    if count >= len(spans):
        return text
    return text[: spans[count - 1][1]] if rng.random() < 0.7 else text[spans[-count][0] :]


def typos(text: str, rng: random.Random) -> str:
    """Letters swapped, left out or doubled inside some words."""

    def mistype(word: str) -> str:
        place = rng.randrange(1, len(word) - 1)
        here, there = word[place], word[place + 1]
        changed = rng.choice((there + here, there, here + here + there))
        return word[:place] + changed + word[place + 2 :]

    return _change(text, _LETTERS, rng.uniform(0.05, 0.25), mistype, rng)


def drop_words(text: str, rng: random.Random) -> str:
    """Up to a fifth of the words left out."""
    share = rng.uniform(0.05, 0.2)
    return _unless_blank(" ".join([w for w in text.split(" ") if rng.random() >= share]), text)


def punctuation(text: str, rng: random.Random) -> str:
    """Marks at the ends of words left out, repeated or exchanged; or one more at the end."""
    kind = rng.random()
    if kind < 0.2 or not _STOP.search(text):
        return text.rstrip() + rng.choice((".", "!", "!!", "!!!", "...", "?", " :)"))
    if kind < 0.5:
        return _unless_blank(_change(text, _STOP, rng.uniform(0.3, 1), lambda _: "", rng), text)
    if kind < 0.75:
        return _change(text, _STOP, 0.5, lambda mark: mark[:2] * rng.randint(2, 4), rng)
    return _change(text, _STOP, 0.5, lambda _: rng.choice((".", "!", ",", "...", " -", "?")), rng)


def emoji(text: str, rng: random.Random) -> str:
    """One or two emoji taken out, or put between words or at the end."""
    if rng.random() < 0.5 and _EMOJI.search(text):
        return _unless_blank(_EMOJI.sub("", text, count=rng.randint(1, 2)), text)
    words = text.split(" ")
    for _ in range(rng.randint(1, 2)):
        place = len(words) if rng.random() < 0.5 else rng.randint(0, len(words))
        words.insert(place, rng.choice(_EMOJIS))
    return " ".join(words)


_SHARES: dict[Alteration, int] = {
    **dict.fromkeys((case, spacing, digits, typos, punctuation), 3),
    **dict.fromkeys((lookalikes, zero_width, urls, phones, drop_words, emoji), 1),
    truncate: 6,
    leet: 3,
    accents: 2,
    spelt_out: 2,
}
"""How often each is picked: mild ones often, and truncation, which costs most recall."""
ALTERATIONS: dict[str, Alteration] = {change.__name__: change for change in _SHARES}
ALL = tuple(ALTERATIONS)
DISGUISES = frozenset({"leet", "accents", "spelt_out"})
"""What hides words from a filter, and stays in a text normalised as `confusables`."""


def alter(text: str, rng: random.Random, amount: float, disguised: float = 1.0) -> str:
    """With the probability ``amount``, a text after one to three alterations.

    Some are likelier than others. disguised: the share of DISGUISES picked that are applied.
    """
    if rng.random() >= amount:
        return text
    (count,) = rng.choices((1, 2, 3), (5, 3, 2))
    for name in dict.fromkeys(rng.choices(ALL, list(_SHARES.values()), k=count)):
        if name not in DISGUISES or rng.random() < disguised:
            text = ALTERATIONS[name](text, rng)
    return text


def join(first: str, second: str, rng: random.Random) -> str:
    """Two messages one after another; which label that has is the caller's to say."""
    return first + rng.choice(_SEPARATORS) + second


def cut(text: str, share: float, rng: random.Random) -> list[str]:
    """Cut a text before ``share`` of its characters, in the spirit of BPE-dropout.

    A word then reaches the model in other tokens than usual (Provilkov et al., 2020).
    """
    if not share:
        return [text]
    cuts = [place for place in range(1, len(text)) if rng.random() < share]
    return [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, None], strict=True)]


def _change(
    text: str,
    pattern: re.Pattern[str],
    share: float,
    change: Callable[[str], str],
    rng: random.Random,
) -> str:
    """That share of a pattern's matches changed, and at least one."""
    found = [match.span() for match in pattern.finditer(text)]
    if not found:
        return text
    chosen = rng.sample(found, min(len(found), max(1, round(share * len(found)))))
    pieces, end = [], 0
    for start, stop in sorted(chosen):
        pieces += [text[end:start], change(text[start:stop])]
        end = stop
    return "".join(pieces) + text[end:]


def _unless_blank(changed: str, text: str) -> str:
    return changed if changed.strip() else text
