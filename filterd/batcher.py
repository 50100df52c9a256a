"""The batcher: which messages are scored together, and when. Pure: no clock, no I/O.

It is work-conserving: whoever asks it has a free engine, and gets what waits, up to the token
budget. Only a linger makes it hold back, and never beyond the oldest message's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Reason = Literal["idle", "full", "linger", "drain"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[T]):
    """A message in the queue: the batcher knows only what it costs and since when it waits.

    alone: it is scored in a batch of its own, because it may be what kills its consumers.
    """

    item: T
    tokens: int
    since_s: float
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """Messages to score together, and why they go now."""

    items: tuple[Waiting[T], ...]
    tokens: int
    reason: Reason


class Batcher(Generic[T]):
    """A queue, cut into batches of at most ``max_tokens``, or of one message.

    max_tokens may change from batch to batch.
    """

    def __init__(self, max_tokens: int, linger_s: float = 0.0) -> None:
        self.max_tokens = max_tokens
        self._linger_s = linger_s
        self._queue: deque[Waiting[T]] = deque()
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def next_is_alone(self) -> bool:
        """Whether the oldest message is to be scored in a batch of its own."""
        return bool(self._queue) and self._queue[0].alone

    def put(self, waiting: Waiting[T]) -> None:
        """Queue a message."""
        self._queue.append(waiting)
        self.tokens += waiting.tokens

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until ``take`` gives a batch although nothing arrives; None: it never will."""
        if not self._queue:
            return None
        return max(0.0, self._queue[0].since_s + self._linger_s - now_s)

    def take(self, now_s: float, drain: bool = False) -> Batch[T] | None:
        """The next batch for an idle engine, oldest messages first, or None if it should wait."""
        reason = self._reason(now_s, drain)
        if reason is None:
            return None
        items = [self._queue.popleft()]
        total = items[0].tokens
        while self._fits(items[0], total):
            items.append(self._queue.popleft())
            total += items[-1].tokens
        self.tokens -= total
        return Batch(tuple(items), total, reason)

    def _reason(self, now_s: float, drain: bool) -> Reason | None:
        if not self._queue:
            return None
        if self.tokens >= self.max_tokens:
            return "full"
        if drain:
            return "drain"
        if not self._linger_s:
            return "idle"
        return "linger" if self.due_in_s(now_s) == 0 else None

    def _fits(self, first: Waiting[T], total: int) -> bool:
        if not self._queue or first.alone or self._queue[0].alone:
            return False
        return total + self._queue[0].tokens <= self.max_tokens
