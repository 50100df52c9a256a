"""Dead letters: list them, look into one, put messages back, drop them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import WatchError

from filterd.entries import Letter
from filterd.errors import UnavailableError
from filterd.streams.connection import refusal, translated
from filterd.streams.names import StreamNames
from filterd.streams.scripts import Argument, SyncScript

if TYPE_CHECKING:
    import redis

PAGE = 500
TRIES = 100
"""How often a wide letter is tried again because another came to the stream meanwhile."""

Fields = list[tuple[bytes, bytes]]


class DeadLetters:
    """The dead letters of one group. Methods raise UnavailableError as the server answers."""

    def __init__(self, client: redis.Redis, names: StreamNames, most_words: int) -> None:
        """most_words: how many closings are remembered, about."""
        self._client, self._names, self._most = client, names, most_words
        self._page = SyncScript(client, "dead_page")
        self._close = SyncScript(client, "dead_close")
        self._message = SyncScript(client, "dead_message")

    def all(self) -> Iterator[Letter]:
        """The letters that there are now, oldest first."""
        with translated():
            newest: Any = self._client.xrevrange(self._names.dead, count=1)
        cursor = "0-0"
        while newest and cursor != newest[0][0].decode():
            last, *letters = self._page([self._names.dead], [cursor, PAGE])
            if not last:
                return
            cursor = last.decode()
            for id_, carried, *parts in letters:
                yield Letter.parse(id_, carried, parts)
                if id_ == newest[0][0]:
                    return

    def now_ms(self) -> int:
        """The server's clock."""
        with translated():
            seconds, micros = self._client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def find(self, id_: str) -> Letter | None:
        """One letter."""
        before = f"({id_}"
        with translated():
            found: Any = self._client.xrevrange(self._names.dead, before, count=1)
        cursor = found[0][0].decode() if found else "0-0"
        _, *letters = self._page([self._names.dead], [cursor, 1])
        if not letters or letters[0][0] != id_.encode():
            return None
        return Letter.parse(letters[0][0], letters[0][1], letters[0][2:])

    def message(self, id_: str) -> Fields:
        """What a letter carries: names and values of its entry, in order, each byte as it was."""
        flat = self._flat(id_)
        return list(zip(flat[::2], flat[1::2], strict=True))

    def replay(self, letter: Letter) -> str | None:
        """Put the message back and remove the letter, in one step; the new entry's id.

        None where somebody else closed the letter before.
        """
        answer = self._closed(letter, "replayed")
        if answer[0] == b"wide":
            answer = self._replay_wide(letter)
        return None if answer[0] == b"gone" else answer[1].decode()

    def drop(self, letter: Letter) -> bool:
        """Remove the letter for good; False where somebody else closed it before."""
        return bool(self._closed(letter, "dropped")[0] == b"closed")

    def _closed(self, letter: Letter, how: str) -> list[Any]:
        keys, args = self._call(letter, how)
        return _accepted(self._close(keys, args))

    def _call(self, letter: Letter, how: str) -> tuple[list[str], list[Argument]]:
        target = letter.stream or self._names.input
        return [self._names.dead, target, self._names.closed], [letter.id, how, self._most]

    def _replay_wide(self, letter: Letter) -> list[Any]:
        """A message of thousands of fields: too many for a script to add.

        The transaction is refused where the letters changed since they were looked at, so a
        letter is replayed once; the script in it removes the letter only if the entry is there.
        """
        keys, args = self._call(letter, "added")
        pipe: Any
        for _ in range(TRIES):
            with translated(), self._client.pipeline() as pipe:
                pipe.watch(self._names.dead)
                if not (flat := self._flat(letter.id)):
                    return [b"gone"]
                pipe.multi()
                pipe.execute_command("XADD", keys[1], "*", *flat)
                pipe.eval(self._close.text, len(keys), *keys, *args)
                try:
                    return _accepted(pipe.execute(raise_on_error=False)[1])
                except WatchError:
                    continue
        raise UnavailableError(
            f"dead letter {letter.id} could not be replayed: others came all the time; try again"
        )

    def _flat(self, id_: str) -> Sequence[bytes]:
        """Names and values in turn; the script undoes what packed the last of many."""
        return list(self._message([self._names.dead], [id_]))


def _accepted(answer: Any) -> list[Any]:
    if isinstance(answer, Exception):
        raise refusal(str(answer))
    if answer[0] == b"refused":
        raise refusal(answer[1].decode(errors="replace"))
    return list(answer)
