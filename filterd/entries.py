"""Entries, verdicts and dead letters: the only place that knows the names of fields.

What comes off the wire is parsed here once, and what goes out is written here once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from filterd.errors import EntryError

if TYPE_CHECKING:
    from filterd.settings import Settings

Label = Literal["spam", "ham"]
Reason = Literal["no-text", "not-utf8", "too-large", "poison"]

PUBLISHER_ID = b"id"
"""What verdicts call the publisher's own id, whatever the publisher does."""
VERDICT_FIELDS = frozenset(
    {"entry", "id", "label", "score", "threshold", "model", "at", "stage", "stream"}
)
"""Names that carried fields cannot have, because verdicts use them."""


@dataclass(frozen=True, slots=True)
class FieldNames:
    """What publishers call the fields of their entries that are read."""

    text: bytes = b"text"
    publisher_id: bytes = PUBLISHER_ID

    @classmethod
    def of(cls, settings: Settings) -> FieldNames:
        """As they are set."""
        return cls(settings.text_field.encode(), settings.id_field.encode())

    def fields(self, text: str, own_id: str | None) -> dict[bytes, bytes]:
        """The fields of a message's entry. Raises UnicodeEncodeError where it has no UTF-8."""
        own = {} if own_id is None else {self.publisher_id: own_id.encode()}
        return {self.text: text.encode(), **own}


DEFAULT_NAMES = FieldNames()


@dataclass(frozen=True, slots=True)
class RawEntry:
    """An entry as read: its wanted fields, or only its size where that is over the limit.

    fields: pairs of name and value, of the wanted names alone · size: their bytes together
    deliveries: how often the server has handed it out · stream: the input that it is in.
    """

    id: str
    fields: tuple[tuple[bytes, bytes], ...]
    size: int
    deliveries: int = 1
    stream: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that can be scored. carried: fields that its verdict repeats."""

    id: str
    text: str
    publisher_id: bytes | None
    carried: tuple[tuple[bytes, bytes], ...]
    deliveries: int = 1
    stream: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision: label, score (calibrated P(spam)), threshold, model (artifact version).

    stage: which model of a cascade answered, empty where there is one model.
    """

    label: Label
    score: float
    threshold: float
    model: str
    stage: str = ""

    @classmethod
    def decide(cls, score: float, threshold: float, model: str, stage: str = "") -> Verdict:
        """Spam from the threshold on."""
        return cls("spam" if score >= threshold else "ham", score, threshold, model, stage)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why an entry can never be scored. Its fields are copied by the server when it settles."""

    entry_id: str
    reason: str
    detail: str
    deliveries: int
    stream: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as its stream shows it, without what it carries.

    id: its own · carried: how many bytes of the entry's fields it keeps · at_ms: by the server's
    clock · stream: the entry's, where there are partitions. What it does not say is empty or zero.
    """

    id: str
    entry: str
    reason: str
    detail: str
    deliveries: int
    at_ms: int
    carried: int
    stream: str = ""

    @classmethod
    def parse(cls, id_: bytes, carried: int, parts: Sequence[bytes]) -> Letter:
        """parts: its own fields, names and values in turn."""
        said = dict(zip(parts[::2], parts[1::2], strict=True))

        def text(name: bytes) -> str:
            return said.get(name, b"").decode(errors="replace")

        def number(name: bytes) -> int:
            value = said.get(name, b"")
            return int(value) if value.isdigit() else 0

        return cls(
            id_.decode(),
            text(b"entry"),
            text(b"reason"),
            text(b"detail"),
            number(b"deliveries"),
            number(b"at"),
            carried,
            text(b"stream"),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict on an entry, ready to settle."""

    entry: Entry
    verdict: Verdict

    @property
    def entry_id(self) -> str:
        """The id of the input entry."""
        return self.entry.id

    @property
    def stream(self) -> str:
        """The input that the entry is in."""
        return self.entry.stream


Outcome = Answer | DeadLetter


def wanted_fields(
    carry_fields: Sequence[str], names: FieldNames = DEFAULT_NAMES
) -> tuple[bytes, ...]:
    """The names of the fields that the daemon reads; all others stay on the server."""
    return (names.text, names.publisher_id, *(name.encode() for name in carry_fields))


def decode(raw: RawEntry, max_bytes: int, names: FieldNames = DEFAULT_NAMES) -> Entry:
    """Parse an entry. Raises EntryError with the dead letter's reason."""
    if raw.size > max_bytes:
        raise EntryError("too-large", f"{raw.size} bytes, the limit is {max_bytes}")
    fields = dict(raw.fields)
    text = fields.pop(names.text, None)
    if text is None:
        named = names.text.decode()
        raise EntryError("no-text", f"the entry has no field {named!r}")
    try:
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise EntryError("not-utf8", f"{error.reason} at byte {error.start}") from error
    publisher_id = fields.pop(names.publisher_id, None)
    return Entry(raw.id, decoded, publisher_id, tuple(fields.items()), raw.deliveries, raw.stream)


def encode(outcome: Outcome, *, named: bool = False) -> list[bytes]:
    """The fields of an outcome, names and values in turn; the server adds ``at``.

    named: with the stream of its entry, whose id alone is not unique among partitions.
    """
    where = [b"stream", outcome.stream.encode()] if named else []
    if isinstance(outcome, DeadLetter):
        return [
            *(b"entry", outcome.entry_id.encode()),
            *(b"reason", outcome.reason.encode()),
            *(b"detail", outcome.detail.encode(errors="replace")),
            *(b"deliveries", b"%d" % outcome.deliveries),
            *where,
        ]
    entry, verdict = outcome.entry, outcome.verdict
    own = [] if entry.publisher_id is None else [PUBLISHER_ID, entry.publisher_id]
    return [
        *(b"entry", entry.id.encode()),
        *own,
        *(b"label", verdict.label.encode()),
        *(b"score", b"%.6f" % verdict.score),
        *(b"threshold", b"%.6g" % verdict.threshold),
        *(b"model", verdict.model.encode()),
        *((b"stage", verdict.stage.encode()) if verdict.stage else ()),
        *where,
        *(part for pair in entry.carried for part in pair),
    ]
