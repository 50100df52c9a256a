"""``filterd publish``: messages into the input stream, in batches or at a rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    import redis

from filterd.entries import DEFAULT_NAMES, FieldNames
from filterd.errors import DataError, UnavailableError
from filterd.streams.connection import refusal, translated
from filterd.tables import Row, Source
from filterd.terminal import progress

CATCH_UP_S = 1.0


@dataclass(frozen=True, slots=True)
class Message:
    """What a publisher sends; id: the publisher's own."""

    text: str
    id: str | None = None

    def fields(self, names: FieldNames = DEFAULT_NAMES) -> dict[bytes, bytes]:
        """The fields of its entry. Raises DataError for a text that has no UTF-8."""
        try:
            return names.fields(self.text, self.id)
        except UnicodeEncodeError as error:
            raise DataError("a message is not UTF-8: it cannot be published") from error


def from_rows(rows: Iterable[Row]) -> list[Message]:
    """Messages of a file, with what its column ``id`` holds, if it has one."""
    return [
        Message(row.text, None if row.values.get("id") is None else str(row.values["id"]))
        for row in rows
    ]


def publish(
    client: redis.Redis,
    stream: str,
    batches: Iterable[Sequence[Message]],
    published: int = 0,
    names: FieldNames = DEFAULT_NAMES,
) -> Iterator[list[str]]:
    """Add batches of messages; yields the ids of each batch. published: how many are there.

    Raises UnavailableError, saying what is certain to be in the stream.
    """
    for batch in batches:
        pipeline = client.pipeline(transaction=False)
        for message in batch:
            pipeline.xadd(stream, message.fields(names))  # type: ignore[arg-type]  # dict invariance
        try:
            with translated():
                answers = pipeline.execute(raise_on_error=False)
        except UnavailableError as error:
            raise UnavailableError(
                f"{error}; {published} published before, the next {len(batch)} perhaps", error.kind
            ) from error
        ids = [answer.decode() for answer in answers if isinstance(answer, bytes)]
        published += len(ids)
        yield ids
        _raise_refused(answers, published)


def publish_apart(
    targets: Sequence[tuple[redis.Redis, str]],
    batches: Iterable[Sequence[Message]],
    names: FieldNames = DEFAULT_NAMES,
) -> Iterator[list[str]]:
    """The same over several streams: equal ids of publishers to the same one, the rest in turn.

    Yields ``id<TAB>stream`` of each message, in the order of the batch.
    """
    published, turns = 0, count()
    for batch in batches:
        of = [place(message, len(targets), turns) for message in batch]
        said = [""] * len(batch)
        for number, (client, stream) in enumerate(targets):
            own = [at for at, chosen in enumerate(of) if chosen == number]
            part = [[batch[at] for at in own]] if own else []
            for ids in publish(client, stream, part, published, names):
                published += len(ids)
                for at, entry in zip(own, ids, strict=True):
                    said[at] = f"{entry}\t{stream}"
        yield said


def place(message: Message, partitions: int, turns: Iterator[int]) -> int:
    """The number of the partition that a message goes to."""
    chosen = next(turns) if message.id is None else crc32(message.id.encode(errors="replace"))
    return chosen % partitions


def _raise_refused(answers: Sequence[object], published: int) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            refused = refusal(str(answer))
            raise UnavailableError(f"{refused}; {published} published", refused.kind)


def paced(
    batches: Iterable[Sequence[Message]],
    rate: float | None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Sequence[Message]]:
    """Cut batches so that ``rate`` messages a second leave; what came late catches up a second."""
    if rate is None:
        yield from batches
        return
    turn = clock()  # when the next message may leave
    for batch in batches:
        first = 0
        while first < len(batch):
            if turn > clock():
                sleep(max(0.0, turn - clock()))
            now = clock()
            turn = max(turn, now - CATCH_UP_S)
            part = batch[first : first + int((now - turn) * rate) + 1]
            turn += len(part) / rate
            first += len(part)
            yield part


def from_file(path: Path, column: str, *, quiet_output: bool) -> Iterator[list[Message]]:
    """Messages of a file in batches, with a progress bar; a column ``id`` is theirs."""
    with (
        Source(path, column) as source,
        progress(f"publish {path.name}", source.total, quiet_output=quiet_output) as advance,
    ):
        for rows in source:
            yield from_rows(rows)
            advance(source.done)
