"""What is in flight: from its delivery to its settling, an entry is this daemon's to look after."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from filterd.entries import Outcome, RawEntry

MOST_ENTRIES = 2048
MOST_BYTES = 8_388_608
"""Beyond either nothing more is read: it is the settling that is slow, or refused."""


class InFlight:
    """The entries in flight. released: set whenever some have ended.

    shares: among how many the limits are divided.
    """

    def __init__(self, shares: int = 1) -> None:
        self._most_entries = max(1, MOST_ENTRIES // shares)
        self._most_bytes = MOST_BYTES // shares
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self.released = asyncio.Event()

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._sizes

    @property
    def ids(self) -> list[str]:
        """The ids, oldest delivery first."""
        return list(self._sizes)

    @property
    def full(self) -> bool:
        """Whether so much is in flight that reading has to wait."""
        return len(self._sizes) >= self._most_entries or self._bytes >= self._most_bytes

    def admit(self, raws: Iterable[RawEntry]) -> list[RawEntry]:
        """Take in entries; returns those that were not in flight already."""
        fresh = [raw for raw in raws if raw.id not in self._sizes]
        for raw in fresh:
            self._sizes[raw.id] = raw.size
            self._bytes += raw.size
        return fresh

    def release(self, outcomes: Sequence[Outcome]) -> None:
        """Let go of entries that have ended."""
        for outcome in outcomes:
            self._bytes -= self._sizes.pop(outcome.entry_id, 0)
        self.released.set()
