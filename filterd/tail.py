"""``filterd tail``: the verdict stream, read without a group, as it grows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

from filterd.entries import DEFAULT_NAMES
from filterd.errors import UnavailableError
from filterd.streams.connection import STARTING, translated
from filterd.terminal import note, printable

BLOCK_MS = 5000
"""Shorter than the socket's timeout."""
CHUNK = 256
PASSING = STARTING | {"away", "timeout"}
"""Kinds of unavailability that end by themselves."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0
LOOK_S = 0.2
"""Between two looks at several streams."""
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
    text_field: bytes = DEFAULT_NAMES.text

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
            replace(verdict, text=_text(entries, self.text_field))
            for verdict, entries in zip(seen, found, strict=True)
        ]


def chosen(
    views: Sequence[View], *, from_start: bool, follow: bool, count: int | None
) -> Iterator[list[Seen]]:
    """The verdicts that the options of ``filterd tail`` ask for, in chunks; of all views."""
    if not (follow or from_start):
        yield latest(views, count or LAST)
        return
    ends = [view.end() for view in views]
    if all(end == "0" for end in ends):
        names = ", ".join(view.stream for view in views)
        note(f"filterd: no verdict yet in {names}; FILTERD_OUTPUT_STREAM says where they go")
    cursors = ["0"] * len(views) if from_start else ends
    chunks = following(views, cursors) if follow else until_now(views, cursors)
    left = count
    for seen in chunks:
        yield seen if left is None else seen[:left]
        if left is not None:
            left -= len(seen)
            if left <= 0:
                return


def latest(views: Sequence[View], count: int) -> list[Seen]:
    """The newest verdicts of several streams, oldest first."""
    found = [seen for view in views for seen in view.latest(count)]
    return sorted(found, key=lambda seen: [int(part) for part in seen.cursor.split("-")])[-count:]


def following(
    views: Sequence[View], cursors: Sequence[str], sleep: Callable[[float], None] = time.sleep
) -> Iterator[list[Seen]]:
    """Verdicts after the cursors for ever, in chunks; waits out a server that is away."""
    after, wait_s = list(cursors), FIRST_WAIT_S
    # Several streams can be on several servers: none of them may be waited for.
    block_ms = BLOCK_MS if len(views) == 1 else None
    while True:
        before = list(after)
        try:
            yield from _once(views, after, block_ms)
        except UnavailableError as error:
            if error.kind not in PASSING:
                raise
            note(f"filterd: {error}; trying again in {wait_s:.2g} s")
            sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            continue
        wait_s = FIRST_WAIT_S
        if block_ms is None and after == before:
            sleep(LOOK_S)


def until_now(views: Sequence[View], cursors: Sequence[str]) -> Iterator[list[Seen]]:
    """Verdicts after the cursors, to the end of the streams, in chunks."""
    after, before = list(cursors), [""]
    while after != before:
        before = list(after)
        yield from _once(views, after, None)


def _once(views: Sequence[View], after: list[str], block_ms: int | None) -> Iterator[list[Seen]]:
    """One look at each stream; moves the cursors on."""
    for number, view in enumerate(views):
        if seen := view.after(after[number], block_ms):
            after[number] = seen[-1].cursor
            yield seen


def _text(entries: Any, field: bytes) -> str:
    text: bytes = entries[0][1].get(field, b"") if entries else b""
    return text.decode(errors="replace")


def _parsed(entries: Any) -> list[Seen]:
    return [
        Seen(
            cursor.decode(),
            {k.decode(errors="replace"): v.decode(errors="replace") for k, v in fields.items()},
        )
        for cursor, fields in entries
    ]
