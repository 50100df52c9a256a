"""Duplicates: spam comes in campaigns, and a text that was scored lately needs no second look."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Future
from hashlib import blake2b
from threading import Lock
from typing import Generic, TypeVar

from filterd.entries import Verdict

KEY_BYTES = 16
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def text_key(text: str, version: str) -> bytes:
    """What a text is remembered under: no text, and another one for each artifact version."""
    digest = blake2b(version.encode(), digest_size=KEY_BYTES)
    digest.update(b"\0")
    digest.update(text.encode())
    return digest.digest()


class Duplicates:
    """Verdicts on the last ``most`` texts; who was not asked for longest goes first.

    It holds keys and verdicts, never a text, so its memory does not depend on how long texts are.
    Threads may share it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._verdicts: OrderedDict[bytes, Verdict] = OrderedDict()
        self._lock = Lock()

    def __bool__(self) -> bool:
        """Whether it remembers anything at all."""
        return self._most > 0

    def __len__(self) -> int:
        return len(self._verdicts)

    def recall(self, key: bytes) -> Verdict | None:
        """The verdict on a text that is remembered."""
        with self._lock:
            found = self._verdicts.get(key)
            if found is not None:
                self._verdicts.move_to_end(key)
            return found

    def remember(self, key: bytes, verdict: Verdict) -> None:
        """Keep a verdict, and forget another where there are too many."""
        if not self._most:
            return
        with self._lock:
            self._verdicts[key] = verdict
            self._verdicts.move_to_end(key)
            if len(self._verdicts) > self._most:
                self._verdicts.popitem(last=False)


class InProgress(Generic[K, V]):
    """What threads are at work on, so that a second one waits for it instead of doing it too."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_key: dict[K, Future[dict[K, V]]] = {}

    def share(
        self, keys: Collection[K], work: Callable[[list[K]], dict[K, V]]
    ) -> tuple[dict[K, V], list[K]]:
        """The values of keys, and of which ``work`` was done here: those that nobody else has.

        A key is missing where the work of another thread failed. Nobody waits with work undone, so
        no two wait for each other.
        """
        done: Future[dict[K, V]] = Future()
        with self._lock:
            others = {key: self._by_key[key] for key in keys if key in self._by_key}
            own = [key for key in keys if key not in others]
            self._by_key.update(dict.fromkeys(own, done))
        found: dict[K, V] = {}
        try:
            found = work(own) if own else {}
        finally:
            with self._lock:
                for key in own:
                    del self._by_key[key]
            done.set_result(found)
        theirs = {key: other.result() for key, other in others.items()}
        return found | {key: made[key] for key, made in theirs.items() if key in made}, own
