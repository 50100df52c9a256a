"""Settling: an outcome and the ack of its entry, in one atomic script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from filterd.entries import DeadLetter, Outcome, encode
from filterd.errors import UnavailableError
from filterd.streams.connection import refusal
from filterd.streams.consumer import watermark_key
from filterd.streams.scripts import Argument, Script


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a batch of outcomes.

    at_ms: the server's clock · settled: these are done · lost: somebody else had settled them
    refused: these are still pending, and why the first of them is.
    """

    at_ms: int
    settled: tuple[Outcome, ...]
    lost: tuple[Outcome, ...]
    refused: tuple[Outcome, ...]
    refusal: UnavailableError | None


class Settler:
    """Writes outcomes of one group's entries."""

    def __init__(
        self, redis: Redis, group: str, streams: tuple[str, str, str], most_verdicts: int
    ) -> None:
        """streams: input, output, dead letters."""
        self._keys = (*streams, watermark_key(streams[0], group))
        self._head: tuple[Argument, ...] = (group, most_verdicts)
        self._script = Script(redis, "settle")

    async def settle(self, outcomes: Sequence[Outcome]) -> Settled:
        """Settle what is still pending. Safe to repeat: a second time finds nothing pending.

        Raises UnavailableError where the server did not answer: ask again.
        """
        args = list(self._head)
        for outcome in outcomes:
            parts = encode(outcome)
            kind = "dead" if isinstance(outcome, DeadLetter) else "verdict"
            args += [outcome.entry_id, kind, len(parts), *parts]
        now, *results = cast("list[Any]", await self._script(self._keys, args))
        said = list(zip(outcomes, results, strict=True))
        refused = [(outcome, result) for outcome, result in said if isinstance(result, bytes)]
        return Settled(
            int(now),
            tuple(outcome for outcome, result in said if result == 1),
            tuple(outcome for outcome, result in said if result == 0),
            tuple(outcome for outcome, _ in refused),
            refusal(refused[0][1].decode(errors="replace")) if refused else None,
        )
