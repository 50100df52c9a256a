"""Which messages are the same, and on which side of the split a text falls. Pure functions."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainer.dataset import Message
from trainer.progress import progress

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


@dataclass(frozen=True, slots=True)
class Distinct:
    """Messages of distinct text: the first of each, and what was left out.

    duplicates: rows that repeat an earlier text · conflicts: rows of each text with both labels.
    """

    kept: tuple[Message, ...]
    duplicates: tuple[int, ...]
    conflicts: tuple[tuple[int, ...], ...]


def fold(text: str) -> str:
    """A text without the differences that do not make it another one: NFKC, case, white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def distinct(messages: Sequence[Message]) -> Distinct:
    """Keep one message of each folded text; a text with both labels is left out whole."""
    groups: dict[str, list[Message]] = {}
    for message in progress("finding duplicates", "message", messages):
        groups.setdefault(fold(message.text), []).append(message)
    kept: list[Message] = []
    duplicates: list[int] = []
    conflicts: list[tuple[int, ...]] = []
    for group in groups.values():
        if len({message.label for message in group}) > 1:
            conflicts.append(tuple(message.row for message in group))
            continue
        kept.append(group[0])
        duplicates.extend(message.row for message in group[1:])
    return Distinct(tuple(kept), tuple(sorted(duplicates)), tuple(conflicts))


def side(text: str, seed: int) -> str:
    """The split of a text: a function of its folded text and the seed alone.

    So no text ever changes sides, whatever data is added or removed around it.
    """
    digest = hashlib.sha256(f"{seed}\n{fold(text)}".encode()).digest()
    position = int.from_bytes(digest[:8]) / 2**64
    if position < SHARES["train"]:
        return "train"
    return "validation" if position < SHARES["train"] + SHARES["validation"] else "test"


def split(messages: Iterable[Message], seed: int) -> dict[str, list[Message]]:
    """Messages by split, each in their given order."""
    parts: dict[str, list[Message]] = {name: [] for name in SHARES}
    for message in messages:
        parts[side(message.text, seed)].append(message)
    return parts
