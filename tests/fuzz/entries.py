"""Hostile entries, and what must become of each: made from a seed, without end."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import repeat
from typing import Literal

Fields = tuple[tuple[bytes, bytes], ...]
Expected = Literal["verdict", "no-text", "not-utf8", "too-large"]

CARRIED = ("from", "chat")
WANTED = (b"text", b"id", *(name.encode() for name in CARRIED))
LIMIT = 512
MEGABYTE = 1_048_576
MOST_EQUAL = 500

UNSEEN = [chr(code) for code in range(0x11_0000) if unicodedata.category(chr(code)) in ("Cc", "Cf")]
"""Control characters, zero-width ones, and those that turn the direction of writing."""
SURROGATES = (b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80")
"""Lone halves, and a pair of them: UTF-8 has no place for either."""
NEARLY = (b"Text", b"text ", b" text", b"TEXT", b"te\x00xt", b"text\x00", b"field:text", b"")


@dataclass(frozen=True, slots=True)
class Case:
    """An entry's fields, in order, names possibly repeated; and the kind of it."""

    kind: str
    fields: Fields

    @property
    def expected(self) -> Expected:
        """What DESIGN says; of a repeated field the last counts."""
        last = dict(self.fields)
        if sum(len(name) + len(last[name]) for name in WANTED if name in last) > LIMIT:
            return "too-large"
        text = last.get(b"text")
        if text is None:
            return "no-text"
        try:
            text.decode()
        except UnicodeDecodeError:
            return "not-utf8"
        return "verdict"


def cases(seed: int) -> Iterator[Case]:
    """Entries of all kinds, mixed; some come many times over, one after the other."""
    rng = random.Random(seed)
    make = Maker(rng)
    while True:
        case = make.case()
        alike = rng.randint(2, MOST_EQUAL) if rng.random() < 0.001 else 1
        yield from repeat(case, alike)


class Maker:
    """Makes one case at a time."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._texts = _texts()
        self._kinds: dict[str, tuple[float, Callable[[], Fields]]] = {
            "plain": (30, lambda: self._with_text(rng.choice(self._texts).encode())),
            "any characters": (15, lambda: self._with_text(self._characters().encode())),
            "unseen characters": (10, lambda: self._with_text(self._disguised().encode())),
            "any bytes": (10, lambda: self._with_text(rng.randbytes(rng.randint(0, 80)))),
            "damaged UTF-8": (10, lambda: self._with_text(self._damaged())),
            "surrogates": (5, lambda: self._with_text(self._spliced(rng.choice(SURROGATES)))),
            "no text": (8, self._without_text),
            "nothing or blank": (3, lambda: self._with_text(rng.choice((b"", b" ", b"\n" * 9)))),
            "any fields": (5, self._any_fields),
            "repeated fields": (3, self._repeated),
            "about the limit": (2, self._about_the_limit),
            "thousands of fields": (0.02, self._thousands),
            "a megabyte": (0.02, lambda: self._with_text(self._megabyte())),
        }
        self._names = list(self._kinds)
        self._weights = [weight for weight, _ in self._kinds.values()]

    def case(self) -> Case:
        """One entry."""
        kind = self._rng.choices(self._names, self._weights)[0]
        return Case(kind, self._kinds[kind][1]())

    def _with_text(self, text: bytes) -> Fields:
        fields = [(b"text", text)]
        if self._rng.random() < 0.3:
            fields.append((b"id", self._bytes(40)))
        if self._rng.random() < 0.1:
            fields.append((b"from", self._bytes(20)))
        if self._rng.random() < 0.1:
            fields.append((self._bytes(12), self._bytes(30)))
        self._rng.shuffle(fields)
        return tuple(fields)

    def _bytes(self, most: int) -> bytes:
        return self._rng.randbytes(self._rng.randint(0, most))

    def _characters(self) -> str:
        return "".join(self._character() for _ in range(self._rng.randint(0, 40)))

    def _character(self) -> str:
        while True:
            code = int(self._rng.choice((0x80, 0x800, 0x1_0000, 0x11_0000)) * self._rng.random())
            if not 0xD800 <= code < 0xE000:
                return chr(code)

    def _disguised(self) -> str:
        letters = list(self._rng.choice(self._texts))
        for _ in range(self._rng.randint(1, 30)):
            letters.insert(self._rng.randint(0, len(letters)), self._rng.choice(UNSEEN))
        return "".join(letters)

    def _damaged(self) -> bytes:
        data = bytearray(self._characters().encode() or b"x")
        for _ in range(self._rng.randint(1, 3)):
            data[self._rng.randrange(len(data))] = self._rng.randrange(256)
        return bytes(data[: self._rng.randint(1, len(data))])

    def _spliced(self, part: bytes) -> bytes:
        text = self._rng.choice(self._texts).encode()
        at = self._rng.randint(0, len(text))
        return text[:at] + part + text[at:]

    def _without_text(self) -> Fields:
        return ((self._rng.choice(NEARLY), self._bytes(60)), (b"id", self._bytes(20)))

    def _any_fields(self) -> Fields:
        count = self._rng.randint(1, 30)
        names = (*WANTED, *NEARLY, b"entry", b"label", b"reason", b"at", b"field:text")
        return tuple(
            (
                self._rng.choice(names) if self._rng.random() < 0.7 else self._bytes(30),
                self._bytes(60),
            )
            for _ in range(count)
        )

    def _repeated(self) -> Fields:
        return tuple(
            (self._rng.choice(WANTED), self._rng.choice(self._texts).encode()[:100])
            for _ in range(self._rng.randint(2, 6))
        )

    def _about_the_limit(self) -> Fields:
        length = LIMIT - len(b"text") + self._rng.randint(-2, 2)
        return ((b"text", (self._rng.choice(self._texts) * 99).encode()[:length]),)

    def _thousands(self) -> Fields:
        count = self._rng.randint(1000, 3400)
        return (*((b"f%d" % n, self._bytes(3)) for n in range(count)), (b"text", b"\xff"))

    def _megabyte(self) -> bytes:
        return self._rng.choice((b"z", b"\x00", "é".encode(), b"\xff")) * MEGABYTE


def _texts() -> list[str]:
    sample = (files("filterd") / "sample" / "messages.tsv").read_text(encoding="utf-8")
    return [line.split("\t", 1)[1] for line in sample.splitlines()]
