"""The log's word on dead letters: that there are some, why, and where to look, not a line each."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import structlog

from filterd.entries import DeadLetter
from filterd.streams.settling import Settled

log = structlog.get_logger()

EVERY_S = 60.0


class DeadLog:
    """Watches what is settled; one line at the first dead letter, then at most one a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_s = float("-inf")
        self._new: Counter[str] = Counter()
        self._details: dict[str, str] = {}

    def watch(self, done: Settled) -> None:
        """Count the dead letters of a batch, and say so where it is time."""
        for outcome in done.settled:
            if isinstance(outcome, DeadLetter):
                self._new[outcome.reason] += 1
                self._details[outcome.reason] = outcome.detail
        if self._clock() >= self._due_s:
            self.tell()

    async def run(self) -> None:
        """Tell of those that nothing was settled behind, too; until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                self.tell()
        finally:
            self.tell()

    def tell(self) -> None:
        """Say what has not been said."""
        if not self._new:
            return
        for reason, count in self._new.items():
            detail = self._details[reason]
            log.warning(
                "dead letters", reason=reason, count=count, last=detail, see="filterd dead list"
            )
        self._due_s = self._clock() + EVERY_S
        self._new.clear()
