"""Text to the text that is tokenised: what only hides a word from a filter is undone.

An artifact's manifest names its normalization, so that serving reads a message exactly as training
did. The look-alikes are those of Unicode Technical Standard 39, read from confusable-homoglyphs.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from string import ascii_letters
from typing import Literal

Normalization = Literal["none", "confusables", "unaccented"]
_Kind = Literal["latin", "mixed", "doubtful", "mostly", "foreign"]

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_UNSEEN = (  # controls, and Unicode's Default_Ignorable_Code_Point without the two joiners
    "0-8 e-1b 7f-84 86-9f ad 34f 61c 115f-1160 17b4-17b5 180b-180f 200b 200e-200f 202a-202e "
    "2060-206f 3164 fe00-fe0f feff ffa0 fff0-fff8 1bca0-1bca3 1d173-1d17a e0000-e0fff"
)
_LATIN = "41-5a 61-7a aa ba c0-d6 d8-f6 f8-2af 1d00-1dbf 1e00-1eff 2c60-2c7f a722-a7ff ab30-ab64"
_ORDINARY = "0-24f 1e00-1eff"
"""Letters in use where people write in Latin: never taken for a disguise."""
_SMALL_CAPITALS = "250-2af 1d00-1d7f a720-a7ff"
_FRAMED = "2460-24ff 1f100-1f1e5"
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_PLAIN = {
    **dict.fromkeys("‘’‚‛′ʼ´", "'"),
    **dict.fromkeys("“”„‟″", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("⁄∕", "/"),
    "\u2800": " ",  # a braille cell without dots
}

_STROKES = str.maketrans("øØđĐłŁħĦıŧŦɨƗƀɃɇɆƶƵ", "oOdDlLhHitTiIbBeEzZ")

# A joiner says something in Arabic and in Indic scripts, where it follows a letter.
_JOINED = re.compile(
    "([\u0600-\u0eff\u1000-\u109f\u1780-\u18af]{0,8})([\u200c\u200d])[\u200c\u200d]*"
)
_MARK = re.compile(f"[{_MARKS}]")
_MARKED = re.compile(f"([^{_MARKS}]?)([{_MARKS}]+)")
_ACCENTS = re.compile("(?<=[A-Za-z])[\u0300-\u036f]+")
_LONG_RUN = re.compile(r"[^\w\s\x00-\x7f]{31,}")
_WORD = re.compile(r"[^\W\d_]+")
_FRAMED_NAME = re.compile(
    r"(?:CIRCLED|SQUARED|PARENTHESIZED) LATIN (CAPITAL|SMALL) LETTER ([A-Z])$"
)
_SMALL_CAPITAL_NAME = re.compile(r"LATIN LETTER SMALL CAPITAL ([A-Z])$")


def normalizer(name: Normalization) -> Callable[[str], str]:
    """The function that makes texts what an artifact's model expects.

    ``none`` leaves them alone. ``confusables`` takes out what cannot be seen and stacked marks,
    reads letters that are only drawn differently (NFKC) or borrowed from another script as the
    Latin ones they look like, and folds white space, quotes and dashes. Case, digits, accents,
    emoji and text that is really written in another script stay. ``unaccented`` does the same and
    reads Latin letters without their accents, so that those hide nothing either. Neither ever
    fails, changes anything the second time, or leaves nothing of a text: that one it gives back.
    """
    if name == "none":
        return str
    return partial(_fold, _tables(), _unaccented if name == "unaccented" else str)


@dataclass(frozen=True, slots=True)
class _Tables:
    plain: Mapping[int, str]
    letters: Mapping[int, str]
    special: frozenset[str]
    borrowed: frozenset[str]
    latin: frozenset[str]


def _fold(tables: _Tables, accented: Callable[[str], str], text: str) -> str:
    folded = text
    if not text.isascii():
        folded = _undisguise(accented(_unmark(_compatible(text, tables))), tables)
    folded = " ".join(folded.split())
    if folded.isascii() and not folded.isprintable():
        folded = " ".join(_CONTROL.sub("", folded).split())
    return folded or (text if text.strip() else "")


def _compatible(text: str, tables: _Tables) -> str:
    """NFKC, without what cannot be seen and with plain quotes and dashes."""
    # To see that a message of 110 characters has nothing special takes 1.4 µs, translating it 7.
    if not tables.special.isdisjoint(text):
        text = text.translate(tables.plain)
    if "\u200c" in text or "\u200d" in text:
        text = _JOINED.sub(_joined, text)
    text = _LONG_RUN.sub(_stream_safe, text)
    if unicodedata.is_normalized("NFKC", text):
        return text
    text = unicodedata.normalize("NFKC", text).translate(tables.plain)
    return _LONG_RUN.sub(_stream_safe, text)


def _joined(found: re.Match[str]) -> str:
    # Marks alone will not do: NFKC may sort those of another script between them and the joiner.
    return found[1] if all(map(unicodedata.combining, found[1])) else found[1] + found[2]


def _stream_safe(found: re.Match[str]) -> str:
    """At most 30 marks in a row (UAX 15): sorting them takes a time that grows with the square."""
    kept, marks = [], 0
    for character in found[0]:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= 30:
            kept.append(character)
    return "".join(kept)


def _unmark(text: str) -> str:
    """Without marks that belong to no accented letter; a letter below a stack loses its own too."""
    if not _MARK.search(text):
        return text

    def bare(found: re.Match[str]) -> str:
        letter = unicodedata.normalize("NFD", found[1])
        return letter[:1] if len(letter) + len(found[2]) > 3 else found[1]

    return unicodedata.normalize("NFKC", _MARKED.sub(bare, text))


def _unaccented(text: str) -> str:
    """Latin letters without accents and strokes; those of other scripts keep what is theirs."""
    apart = unicodedata.normalize("NFD", text).translate(_STROKES)
    return unicodedata.normalize("NFKC", _ACCENTS.sub("", apart))


def _undisguise(text: str, tables: _Tables) -> str:
    """Borrowed letters made Latin, in words that mix scripts, or in a message that is Latin.

    A word that holds a Latin letter, and others that all look Latin, is a disguise, unless most
    of the message is foreign ("SMSка" in a Russian one). A word that only looks Latin may be real
    ("сор" is Russian), as may one that mostly does: these follow when nothing else is foreign.
    """
    if tables.borrowed.isdisjoint(text):
        return text
    words = _WORD.findall(text)
    kinds = {word: _kind(word, tables) for word in set(words)}
    letters = Counter[_Kind]()
    for word in words:
        letters[kinds[word]] += len(word)
    latin = letters["latin"] + letters["mixed"]
    wanted: set[_Kind] = {"mixed"} if latin > letters["foreign"] else set()
    if not letters["foreign"] and (letters["mixed"] or latin > 2 * letters["doubtful"]):
        wanted |= {"doubtful", "mostly"}

    def read(found: re.Match[str]) -> str:
        word = found[0]
        return word.translate(tables.letters) if kinds[word] in wanted else word

    return _WORD.sub(read, text)


def _kind(word: str, tables: _Tables) -> _Kind:
    if word.isascii():
        return "latin"
    borrowed, latin = tables.borrowed, tables.latin
    others = sum(letter not in borrowed and letter not in latin for letter in word)
    if latin.isdisjoint(word):
        return "foreign" if others else "doubtful"
    if others:
        return "mostly" if 2 * others < len(word) else "foreign"
    return "latin" if borrowed.isdisjoint(word) else "mixed"


@cache
def _tables() -> _Tables:
    letters = _letters()
    plain = {**dict.fromkeys(_characters(_UNSEEN), ""), **_PLAIN, **_framed()}
    return _Tables(
        plain={ord(character): plainly for character, plainly in plain.items()},
        letters={ord(letter): latin for letter, latin in letters.items()},
        special=frozenset(plain),
        borrowed=frozenset(letters),
        latin=frozenset(_characters(_LATIN)),
    )


def _characters(ranges: str) -> Iterator[str]:
    """The characters of hexadecimal ranges such as ``41-5a 61-7a``."""
    for part in ranges.split():
        first, _, last = part.partition("-")
        yield from map(chr, range(int(first, 16), int(last or first, 16) + 1))


def _framed() -> dict[str, str]:
    """Letters in circles, squares and brackets; NFKC knows only some, and keeps the brackets."""
    plain = {}
    for character in _characters(_FRAMED):
        found = _FRAMED_NAME.search(unicodedata.name(character, ""))
        if found:
            plain[character] = found[2] if found[1] == "CAPITAL" else found[2].lower()
    return plain


def _letters() -> dict[str, str]:
    """The letters of scripts with upper and lower case, and of Lisu, that look like a-z or A-Z."""
    # Reading its data takes 50 ms, which only a process that normalises pays.
    from confusable_homoglyphs.confusables import confusables_data

    alike = {letter: [other["c"] for other in found] for letter, found in confusables_data.items()}
    ordinary = set(_characters(_ORDINARY))
    letters = {"ғ": "f"}  # the f of "small capitals"; Unicode takes it for an r with a stroke
    for letter in [*_characters(_SMALL_CAPITALS), *alike]:
        if len(letter) == 1 and letter not in ordinary and _is_borrowed(letter):
            latin = _latin(letter, alike)
            if latin:
                letters.setdefault(letter, latin)
    return letters


def _is_borrowed(letter: str) -> bool:
    """Whether a letter has a case, as what looks like one of ours should, or is of Lisu."""
    cased = unicodedata.category(letter) in ("Lu", "Ll")
    lisu = unicodedata.name(letter, "").startswith("LISU LETTER")
    return (cased or lisu) and unicodedata.is_normalized("NFKC", letter)


def _latin(letter: str, alike: Mapping[str, list[str]]) -> str | None:
    """The a-z or A-Z that a letter looks like: just so, as a small capital, or with marks."""
    nearest = [other for other in alike.get(letter, ()) if other]
    further = [other for one in nearest for other in alike.get(one, ()) if len(other) == 1]
    for other in nearest:
        if len(other) == 1 and other in ascii_letters:
            # Unicode takes I for a kind of l.
            return "I" if other == "l" and unicodedata.category(letter) != "Ll" else other
    for other in [letter, *(one for one in nearest if len(one) == 1), *further]:
        found = _SMALL_CAPITAL_NAME.match(unicodedata.name(other, ""))
        if found:
            return found[1].lower()
    if unicodedata.name(letter, "").startswith("LATIN"):
        return None
    for marked in (unicodedata.normalize("NFD", other) for other in nearest):
        if marked[0] in ascii_letters and all(map(unicodedata.combining, marked[1:])):
            return marked[0]
    return None
