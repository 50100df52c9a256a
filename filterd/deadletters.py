"""``filterd dead``: which letters are meant, and what is printed of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass

from filterd.entries import Letter
from filterd.errors import DataError, SettingsError
from filterd.streams.dead import DeadLetters, Fields
from filterd.streams.id_table import is_id
from filterd.terminal import printable


@dataclass(frozen=True, slots=True)
class Found:
    """A letter, and the dead letters that it is among.

    id: unique among all partitions, where there are several: their number, a slash, its own id.
    """

    id: str
    letter: Letter
    among: DeadLetters

    def replay(self) -> str | None:
        """``id<TAB>new entry's id``, and of a partition its stream; None where it was closed."""
        new = self.among.replay(self.letter)
        shown = (self.id, new, printable(self.letter.stream))
        return None if new is None else "\t".join(filter(None, shown))

    def drop(self) -> str | None:
        """Its id; None where somebody else closed it before."""
        return self.id if self.among.drop(self.letter) else None


def chosen(
    partitions: Sequence[DeadLetters], ids: Sequence[str], reasons: Collection[str]
) -> Iterator[Found]:
    """The letters of these ids, or else all of these reasons, or else all; of all partitions.

    Raises SettingsError for what is no id, DataError for one that is none's.
    """
    for number, own in [_place(id_, len(partitions)) for id_ in ids]:
        letter = partitions[number].find(own)
        if letter is None:
            id_ = _id(number, own, len(partitions))
            raise DataError(f"there is no dead letter {id_}: 'filterd dead list' shows them")
        yield Found(_id(number, own, len(partitions)), letter, partitions[number])
    if not ids:
        for number, letters in enumerate(partitions):
            for letter in letters.all():
                if not reasons or letter.reason in reasons:
                    yield Found(_id(number, letter.id, len(partitions)), letter, letters)


def _id(number: int, own: str, partitions: int) -> str:
    return f"{number}/{own}" if partitions > 1 else own


def _place(id_: str, partitions: int) -> tuple[int, str]:
    """The number of a letter's partition and its id there. Raises SettingsError."""
    number, slash, own = id_.rpartition("/")
    if partitions == 1:
        valid, form = not slash, "MS-NUMBER"
    else:
        valid = number.isascii() and number.isdigit() and int(number) < partitions
        form = f"PARTITION/MS-NUMBER with a partition from 0 to {partitions - 1}"
    if not valid or not is_id(own.encode(errors="replace")):
        raise SettingsError(f"{id_} is no dead letter's id, which has the form {form}")
    return int(number or 0), own


def as_line(found: Found, now_ms: int) -> str:
    """``id<TAB>reason<TAB>age<TAB>deliveries<TAB>entry<TAB>detail``."""
    letter = found.letter
    parts = (found.id, letter.reason, age(letter, now_ms), str(letter.deliveries))
    return "\t".join(map(printable, (*parts, letter.entry, letter.detail)))


def as_json(found: Found, now_ms: int) -> str:
    """One object."""
    about = {**asdict(found.letter), "id": found.id, "age_s": _age_s(found.letter, now_ms)}
    return json.dumps(about, ensure_ascii=False)


def in_full(found: Found, now_ms: int, fields: Fields, *, show_text: bool) -> Iterator[str]:
    """A letter on several lines; of its fields the sizes, or what they hold."""
    letter = found.letter
    yield f"letter      {found.id}"
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
