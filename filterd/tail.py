"""``filterd tail``: the verdict stream, read without a group, as it grows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

from filterd.errors import UnavailableError
from filterd.streams.connection import STARTING, translated
from filterd.terminal import note, printable

BLOCK_MS = 5000
"""Shorter than the socket's timeout."""
CHUNK = 256
PASSING = STARTING | {"away", "timeout"}
"""Kinds of unavailability that end by themselves."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0
LAST = 10
"""Verdicts that ``--no-follow`` shows."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A verdict as its stream shows it. cursor: its own id · text: where it was looked up."""

    cursor: str
    fields: dict[str, str]
    text: str | None = None

    @property
    def entry(self) -> str:
        """The id of the input entry."""
        return self.fields.get("entry", "")


def as_line(seen: Seen) -> str:
    """``entry<TAB>label<TAB>score``, and the text where it was looked up."""
    shown = [seen.entry, seen.fields.get("label", "?"), seen.fields.get("score", "?")]
    if seen.text is not None:
        shown.append(seen.text)
    return "\t".join(printable(part) for part in shown)


def as_json(seen: Seen) -> str:
    """One object with every field of the verdict."""
    typed: dict[str, Any] = dict(seen.fields)
    for name in {"score", "threshold"} & typed.keys():
        typed[name] = float(typed[name])
    text = {} if seen.text is None else {"text": seen.text}
    return json.dumps({**typed, **text}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class View:
    """A verdict stream, and the stream of the messages where their texts are to be shown.

    Every method raises UnavailableError where the server does not answer.
    """

    client: redis.Redis
    stream: str
    texts_in: str | None = None

    def latest(self, count: int) -> list[Seen]:
        """The newest verdicts, oldest first."""
        return self.with_texts(self.back(count)[::-1])

    def back(self, count: int, cursor: str = "+") -> list[Seen]:
        """The verdicts from a cursor back, newest first, without texts."""
        with translated():
            found: Any = self.client.xrevrange(self.stream, cursor, count=count)
        return _parsed(found)

    def end(self) -> str:
        """The cursor after what the stream holds now."""
        with translated():
            found: Any = self.client.xrevrange(self.stream, count=1)
        return str(found[0][0].decode()) if found else "0"

    def after(self, cursor: str, block_ms: int | None = None) -> list[Seen]:
        """The next verdicts; waits ``block_ms`` for the first of them, if given."""
        with translated():
            found: Any = self.client.xread({self.stream: cursor}, count=CHUNK, block=block_ms)
        return self.with_texts(_parsed(found[0][1])) if found else []

    def with_texts(self, seen: Sequence[Seen]) -> list[Seen]:
        """The same verdicts, with the texts that the input stream still holds."""
        if self.texts_in is None:
            return list(seen)
        pipeline = self.client.pipeline(transaction=False)
        for verdict in seen:
            pipeline.xrange(self.texts_in, verdict.entry or "0-1", verdict.entry or "0-1")
        with translated():
            found: Any = pipeline.execute()
        return [
            replace(verdict, text=_text(entries))
            for verdict, entries in zip(seen, found, strict=True)
        ]


def chosen(
    view: View, *, from_start: bool, follow: bool, count: int | None
) -> Iterator[list[Seen]]:
    """The verdicts that the options of ``filterd tail`` ask for, in chunks."""
    if not (follow or from_start):
        yield view.latest(count or LAST)
        return
    cursor = "0" if from_start else view.end()
    chunks = following(view, cursor) if follow else until_now(view, cursor)
    left = count
    for seen in chunks:
        yield seen if left is None else seen[:left]
        if left is not None:
            left -= len(seen)
            if left <= 0:
                return


def following(
    view: View, cursor: str, sleep: Callable[[float], None] = time.sleep
) -> Iterator[list[Seen]]:
    """Verdicts after a cursor for ever, in chunks; waits out a server that is away."""
    wait_s = FIRST_WAIT_S
    while True:
        try:
            seen = view.after(cursor, BLOCK_MS)
        except UnavailableError as error:
            if error.kind not in PASSING:
                raise
            note(f"filterd: {error}; trying again in {wait_s:.2g} s")
            sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            continue
        wait_s = FIRST_WAIT_S
        if seen:
            cursor = seen[-1].cursor
            yield seen


def until_now(view: View, cursor: str) -> Iterator[list[Seen]]:
    """Verdicts after a cursor, to the end of the stream, in chunks."""
    while seen := view.after(cursor):
        cursor = seen[-1].cursor
        yield seen


def _text(entries: Any) -> str:
    text: bytes = entries[0][1].get(b"text", b"") if entries else b""
    return text.decode(errors="replace")


def _parsed(entries: Any) -> list[Seen]:
    return [
        Seen(
            cursor.decode(),
            {k.decode(errors="replace"): v.decode(errors="replace") for k, v in fields.items()},
        )
        for cursor, fields in entries
    ]
