"""Settling: an outcome and the ack of its entry, in one atomic script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgpack
from redis.asyncio import Redis

from filterd.entries import DeadLetter, Outcome, encode
from filterd.errors import UnavailableError
from filterd.streams.connection import refusal
from filterd.streams.consumer import watermark_key
from filterd.streams.line import Line
from filterd.streams.scripts import Argument, Script, Wait


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a batch of outcomes.

    at_ms: the server's clock · settled: these are done · lost: somebody else had settled them
    refused: these are still pending, and why the first of them is
    unconfirmed: of the settled, those that no WAIT vouches for; a failover can forget them, and
    then they are settled once more.
    """

    at_ms: int
    settled: tuple[Outcome, ...]
    lost: tuple[Outcome, ...]
    refused: tuple[Outcome, ...]
    refusal: UnavailableError | None
    unconfirmed: tuple[Outcome, ...] = ()


class Settler:
    """Writes outcomes of one group's entries."""

    def __init__(
        self,
        redis: Redis,
        group: str,
        streams: tuple[str, str, str],
        most_verdicts: int,
        wait: Wait | None = None,
        *,
        named: bool = False,
    ) -> None:
        """streams: input, output, dead letters · wait: for replicas, after each settle
        named: outcomes say which stream their entry is in.
        """
        self._named = named
        self._keys = (*streams, watermark_key(streams[0], group))
        self._head: tuple[Argument, ...] = (group, most_verdicts)
        self._script = Script(redis, "settle")
        self._line = Line(redis)
        self._wait = wait
        self._unanswered: set[str] = set()

    async def settle(self, outcomes: Sequence[Outcome]) -> Settled:
        """Settle what is still pending. Safe to repeat: a second time finds nothing pending.

        Raises UnavailableError where the server did not answer: ask again.
        """
        reply, confirmed = await self._run(outcomes, [*self._head, self._packed(outcomes)])
        now, *results = cast("list[Any]", reply)
        said = list(zip(outcomes, results, strict=True))
        refused = [(outcome, result) for outcome, result in said if isinstance(result, bytes)]
        settled = tuple(outcome for outcome, result in said if result == 1)
        return Settled(
            int(now),
            settled,
            tuple(outcome for outcome, result in said if result == 0),
            tuple(outcome for outcome, _ in refused),
            refusal(refused[0][1].decode(errors="replace")) if refused else None,
            self._unconfirmed(outcomes, settled, confirmed),
        )

    def _packed(self, outcomes: Sequence[Outcome]) -> bytes:
        """One argument instead of a score for each outcome: they cost more than all else here.

        In msgpack's old form, whose strings hold any bytes: the one that every server reads.
        """
        rows = [
            (
                outcome.entry_id,
                "dead" if isinstance(outcome, DeadLetter) else "verdict",
                encode(outcome, named=self._named),
            )
            for outcome in outcomes
        ]
        packed: bytes = msgpack.packb(rows, use_bin_type=False)
        return packed

    async def _run(
        self, outcomes: Sequence[Outcome], args: Sequence[Argument]
    ) -> tuple[object, bool]:
        if self._wait is None:
            return await self._line.run(self._script, self._keys, args), True
        try:
            return await self._script.confirmed(self._keys, args, self._wait)
        except UnavailableError:
            self._unanswered.update(outcome.entry_id for outcome in outcomes)
            raise

    def _unconfirmed(
        self, outcomes: Sequence[Outcome], settled: tuple[Outcome, ...], confirmed: bool
    ) -> tuple[Outcome, ...]:
        """Settled with too few replicas; or settled now, and perhaps before, where the answer
        was lost with the server that had it.
        """
        if self._wait is None:
            return ()
        doubtful = self._unanswered
        found = tuple(o for o in settled if not confirmed or o.entry_id in doubtful)
        doubtful.difference_update(outcome.entry_id for outcome in outcomes)
        return found
