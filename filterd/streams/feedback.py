"""The feedback stream: corrections and withdrawals written, and read with their messages' texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

from filterd.entries import DEFAULT_NAMES, FieldNames
from filterd.errors import FeedbackError
from filterd.feedback import Correction, Withdrawal, Word, decode, encode, entry_id
from filterd.streams.connection import translated

PAGE = 256


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry of the feedback stream that cannot be used, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class FeedbackStream:
    """A feedback stream. inputs: where messages are, the first one where a correction names none.

    homes: clients of those inputs that are on another server than the feedback.
    Every method raises UnavailableError where the server does not answer.
    """

    client: redis.Redis
    stream: str
    inputs: tuple[str, ...]
    most_bytes: int
    names: FieldNames = DEFAULT_NAMES
    homes: Mapping[str, redis.Redis] = field(default_factory=dict)

    def correct(self, correction: Correction) -> Correction:
        """Publish a correction; its id is the new entry's.

        One that names an entry takes the message's text along, so that it outlives the message.
        Raises FeedbackError where that message is gone, or the text is too long for the daemon.
        """
        if correction.text is None:
            correction = self._with_message(correction)
        elif correction.entry is not None:
            raise FeedbackError("give either the text or the entry of a message, not both")
        fields = encode(correction)
        if (size := len(fields[b"text"])) > self.most_bytes:
            raise FeedbackError(f"the text has {size} bytes, the limit is {self.most_bytes}")
        return replace(correction, id=self._add(fields))

    def withdraw(self, id_: str) -> Withdrawal:
        """Take an entry back. Raises FeedbackError where there is none of this id."""
        entry_id(id_, "what to take back")
        with translated():
            found: Any = self.client.xrange(self.stream, id_, id_)
        if not found:
            raise FeedbackError(f"there is no feedback {id_} in {self.stream}")
        return Withdrawal(self._add(encode(Withdrawal("", id_))), id_)

    def read(self, after: str = "0-0") -> Iterator[Word | Rejected]:
        """Everything after an id, oldest first; texts are looked up where only an entry is named.

        What is gone keeps None for its text. To know which words stand, read from the beginning:
        see ``feedback.standing``.
        """
        while True:
            with translated():
                page: Any = self.client.xrange(self.stream, f"({after}", "+", count=PAGE)
            if not page:
                return
            after = page[-1][0].decode()
            yield from self._with_texts([_parsed(id_.decode(), fields) for id_, fields in page])

    def _add(self, fields: dict[bytes, bytes]) -> str:
        with translated():
            added: Any = self.client.xadd(self.stream, fields)  # type: ignore[arg-type]  # invariance
        return str(added.decode())

    def _with_message(self, correction: Correction) -> Correction:
        entry = entry_id(
            correction.entry or "", "the message to correct (field 'entry' of its verdict)"
        )
        stream = correction.stream or self.inputs[0]
        if stream not in self.inputs:
            raise FeedbackError(f"messages are in {', '.join(self.inputs)}, not in {stream}")
        with translated():
            found: Any = self._client(stream).xrange(stream, entry, entry)
        if not found:
            raise FeedbackError(
                f"message {entry} is not in {stream}, or not any more: give its text, or the id in "
                "the field 'entry' of its verdict"
            )
        text = _value(found, self.names.text)
        if text is None:
            raise FeedbackError(f"message {entry} has no text that can be read")
        named = stream if len(self.inputs) > 1 else None
        own_id = _value(found, self.names.publisher_id)
        return replace(correction, text=text, stream=named, own_id=correction.own_id or own_id)

    def _with_texts(self, words: Sequence[Word | Rejected]) -> Iterator[Word | Rejected]:
        bare = [word for word in words if isinstance(word, Correction) and word.text is None]
        texts: dict[str, str | None] = {}
        for home in {self._home(word) for word in bare}:
            texts |= self._texts_in(home, [word for word in bare if self._home(word) == home])
        for word in words:
            if isinstance(word, Correction) and word.text is None:
                word = replace(word, text=texts[word.id])
            yield word

    def _client(self, stream: str) -> redis.Redis:
        return self.homes.get(stream, self.client)

    def _texts_in(self, home: str, words: Sequence[Correction]) -> dict[str, str | None]:
        """The texts of the messages that these corrections name, by the corrections' ids."""
        pipeline = self._client(home).pipeline(transaction=False)
        for word in words:
            entry = word.entry or "0-1"
            pipeline.xrange(home, entry, entry)
        with translated():
            found: Any = pipeline.execute()
        name = self.names.text
        return {word.id: _value(entries, name) for word, entries in zip(words, found, strict=True)}

    def _home(self, correction: Correction) -> str:
        """The stream of its message; a name that is none of ours is not asked for."""
        return correction.stream if correction.stream in self.inputs else self.inputs[0]


def _parsed(id_: str, fields: dict[bytes, bytes]) -> Word | Rejected:
    try:
        return decode(id_, fields)
    except FeedbackError as error:
        return Rejected(id_, str(error))


def _value(entries: Any, name: bytes) -> str | None:
    """A field of a looked-up entry, if it is there and is UTF-8."""
    value: bytes | None = entries[0][1].get(name) if entries else None
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
