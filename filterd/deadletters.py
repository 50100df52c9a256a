"""``filterd dead``: which letters are meant, and what is printed of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict

from filterd.entries import Letter
from filterd.errors import DataError
from filterd.streams.dead import DeadLetters, Fields
from filterd.terminal import printable


def chosen(letters: DeadLetters, ids: Sequence[str], reasons: Collection[str]) -> Iterator[Letter]:
    """The letters of these ids, or else all of these reasons, or else all.

    Raises DataError for an id that is none's.
    """
    for id_ in ids:
        letter = letters.find(id_)
        if letter is None:
            raise DataError(f"there is no dead letter {id_}: 'filterd dead list' shows them")
        yield letter
    if not ids:
        yield from (one for one in letters.all() if not reasons or one.reason in reasons)


def as_line(letter: Letter, now_ms: int) -> str:
    """``id<TAB>reason<TAB>age<TAB>deliveries<TAB>entry<TAB>detail``."""
    parts = (letter.id, letter.reason, age(letter, now_ms), str(letter.deliveries))
    return "\t".join(map(printable, (*parts, letter.entry, letter.detail)))


def as_json(letter: Letter, now_ms: int) -> str:
    """One object."""
    return json.dumps({**asdict(letter), "age_s": _age_s(letter, now_ms)}, ensure_ascii=False)


def in_full(letter: Letter, now_ms: int, fields: Fields, *, show_text: bool) -> Iterator[str]:
    """A letter on several lines; of its fields the sizes, or what they hold."""
    yield f"letter      {letter.id}"
    for name in ("entry", "stream", "reason", "detail", "deliveries"):
        if value := getattr(letter, name):
            yield f"{name:<12}{printable(str(value))}"
    yield f"age         {age(letter, now_ms)}"
    for name_, content in fields:
        held = printable(content.decode(errors="backslashreplace"))
        what = held if show_text else f"{len(content)} bytes"
        yield f"  {printable(name_.decode(errors='backslashreplace'))}\t{what}"


def age(letter: Letter, now_ms: int) -> str:
    """How long ago it was put aside, in the largest unit that fits."""
    seconds = _age_s(letter, now_ms)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _age_s(letter: Letter, now_ms: int) -> int:
    return max(0, now_ms - letter.at_ms) // 1000
