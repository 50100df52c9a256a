"""Feedback gathered: what the stream brought since the last run, behind what earlier runs kept.

The stream may be trimmed, so each run keeps all words it knows, and the next goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filterd.entries import Label
from filterd.errors import DataError, FeedbackError
from filterd.feedback import Correction, Word, decode, encode, standing
from filterd.streams.feedback import FeedbackStream, Rejected

START = "0-0"
WORDS = "words.jsonl"


@dataclass(frozen=True, slots=True)
class Opinion:
    """A person's word that stands. id: of its entry in the feedback stream."""

    id: str
    text: str
    label: Label
    source: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """All words so far. fresh: of how many this run is the first to know · cursor: the last
    entry that was read · rejected: entries that are no feedback.
    """

    words: tuple[Word, ...]
    fresh: int
    cursor: str
    rejected: tuple[Rejected, ...]

    @property
    def opinions(self) -> list[Opinion]:
        """The words that stand, oldest first, and have a text."""
        return [
            Opinion(word.id, word.text, word.label, word.source or "")
            for word in standing(self.words)
            if word.text is not None and word.text.strip()
        ]

    @property
    def textless(self) -> int:
        """Words that stand, of messages whose text is empty or gone."""
        return len(standing(self.words)) - len(self.opinions)

    def as_lines(self) -> bytes:
        """For the next run: one word a line."""
        lines = (json.dumps(_plain(word), ensure_ascii=False) for word in self.words)
        return "".join(line + "\n" for line in lines).encode()


def gather(stream: FeedbackStream, kept: Path | None, cursor: str) -> Gathered:
    """Everything after ``cursor``, behind the words of an earlier run's file.

    Raises UnavailableError where Redis does not answer, DataError for a damaged file.
    """
    words = [] if kept is None else _kept(kept)
    known, rejected = len(words), []
    for found in stream.read(cursor):
        cursor = found.id
        if isinstance(found, Rejected):
            rejected.append(found)
        else:
            words.append(found)
    return Gathered(tuple(words), len(words) - known, cursor, tuple(rejected))


def corrections(words: Iterable[Word]) -> int:
    """How many words are no withdrawals."""
    return sum(isinstance(word, Correction) for word in words)


def _plain(word: Word) -> dict[str, str]:
    fields = {name.decode(): value.decode() for name, value in encode(word).items()}
    return {**fields, "feedback": word.id}


def _kept(path: Path) -> list[Word]:
    words = []
    try:
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            fields = json.loads(line)
            id_ = fields.pop("feedback")
            words.append(decode(id_, {n.encode(): v.encode() for n, v in fields.items()}))
    except (OSError, ValueError, KeyError, AttributeError, FeedbackError) as error:
        raise DataError(f"{path} is damaged: bring it back, it holds earlier feedback") from error
    return words
