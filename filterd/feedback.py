"""Feedback: what people say about messages, and which of their words stand.

Anyone may write to the feedback stream, so what is read is parsed here once. Words contradict each
other and are taken back; ``standing`` decides, the same way whatever order they come in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from filterd.entries import Label
from filterd.errors import FeedbackError

LABELS: tuple[Label, ...] = get_args(Label)
ENTRY_ID = re.compile(r"\d{1,20}-\d{1,20}")
NAMES = ("label", "text", "entry", "stream", "id", "source")


@dataclass(frozen=True, slots=True)
class Correction:
    """A person's label of a message.

    id: of its entry in the feedback stream · text: of the message · entry, stream: where the
    message is or was; one of text and entry is there · own_id: the publisher's id of the message
    source: who or what passed the word on.
    """

    id: str
    label: Label
    text: str | None = None
    entry: str | None = None
    stream: str | None = None
    own_id: str | None = None
    source: str | None = None

    @property
    def message(self) -> tuple[str, str]:
        """What it is about: equal for two words on the same text, wherever it stood."""
        if self.text is not None:
            return "text", self.text
        return self.stream or "", self.entry or ""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A person takes an earlier entry of the feedback stream back. id: of its own entry."""

    id: str
    withdraws: str


Word = Correction | Withdrawal


def decode(id_: str, fields: Mapping[bytes, bytes]) -> Word:
    """Parse an entry of the feedback stream. Raises FeedbackError, which never shows the text."""
    try:
        found = {name.decode(): value.decode() for name, value in fields.items()}
    except UnicodeDecodeError:
        raise FeedbackError(f"feedback {id_} is not UTF-8") from None
    if "withdraw" in found:
        return Withdrawal(id_, entry_id(found["withdraw"], f"withdraw of feedback {id_}"))
    label = found.get("label")
    if label not in LABELS:
        raise FeedbackError(f"feedback {id_} has no label that is one of {', '.join(LABELS)}")
    if "entry" in found:
        entry_id(found["entry"], f"entry of feedback {id_}")
    elif "text" not in found:
        raise FeedbackError(f"feedback {id_} has neither a text nor an entry")
    text, entry, stream, own_id, source = (found.get(name) for name in NAMES[1:])
    return Correction(id_, label, text, entry, stream, own_id, source)


def encode(word: Word) -> dict[bytes, bytes]:
    """The fields of its entry. Raises FeedbackError for a text that has no UTF-8."""
    if isinstance(word, Withdrawal):
        return {b"withdraw": word.withdraws.encode()}
    values = (word.label, word.text, word.entry, word.stream, word.own_id, word.source)
    try:
        return {
            name.encode(): value.encode()
            for name, value in zip(NAMES, values, strict=True)
            if value is not None
        }
    except UnicodeEncodeError:
        raise FeedbackError("the text is not UTF-8: it cannot be published") from None


def entry_id(text: str, what: str) -> str:
    """The id, if it has the form of one. Raises FeedbackError."""
    if not ENTRY_ID.fullmatch(text):
        raise FeedbackError(f"{what}: give an entry's id, such as 1700000000000-0")
    return text


def standing(words: Iterable[Word]) -> list[Correction]:
    """The corrections that count, oldest first: of each message the latest that nobody took back.

    A withdrawal takes back an earlier entry, and one that withdrew can be withdrawn itself. When
    the latest word on a message is taken back, the one before it stands again.
    """
    withdrawn: set[str] = set()
    latest: dict[tuple[str, str], Correction] = {}
    for word in sorted(words, key=lambda word: order(word.id), reverse=True):
        if word.id in withdrawn:
            continue
        if isinstance(word, Correction):
            latest.setdefault(word.message, word)
        elif order(word.withdraws) < order(word.id):
            withdrawn.add(word.withdraws)
    return list(latest.values())[::-1]


def order(id_: str) -> tuple[int, int]:
    """An entry id as numbers, in the order of its stream."""
    ms, _, seq = id_.partition("-")
    return int(ms), int(seq)
