"""What the shadow found: disagreements in a stream, and counts of how often both agreed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio import Redis

from filterd.streams.connection import translated

if TYPE_CHECKING:
    from collections import Counter

    import redis

    from filterd.shadow import Comparison

MOST_DISAGREEMENTS = 10_000
KEPT_S = 30 * 86_400


def counts_key(stream: str) -> str:
    """Where counts are; in a cluster it shares the stream's slot."""
    return f"{stream if '{' in stream else f'{{{stream}}}'}:counts"


class Disagreements:
    """Writes them. show_text: with the messages' texts."""

    def __init__(self, client: Redis, stream: str, *, show_text: bool) -> None:
        self._redis, self._stream, self._show_text = client, stream, show_text

    async def keep(self, comparisons: Sequence[Comparison], counts: Counter[str]) -> None:
        """Add entries and counts. Raises UnavailableError; asked again it may count twice."""
        key = counts_key(self._stream)
        with translated():
            async with self._redis.pipeline(transaction=True) as pipe:
                for comparison in comparisons:
                    fields: Any = self._fields(comparison)
                    pipe.xadd(self._stream, fields, maxlen=MOST_DISAGREEMENTS)
                for name, count in counts.items():
                    pipe.hincrby(key, name, count)
                pipe.expire(key, KEPT_S)
                await pipe.execute()

    def _fields(self, comparison: Comparison) -> dict[str, str | bytes]:
        entry = comparison.answer.entry
        fields: dict[str, str | bytes] = {"entry": entry.id}
        if entry.publisher_id is not None:
            fields["id"] = entry.publisher_id
        both = {"champion": comparison.answer.verdict, "challenger": comparison.challenger}
        for who, verdict in both.items():
            fields |= {
                f"{who}": verdict.model,
                f"{who}_label": verdict.label,
                f"{who}_score": f"{verdict.score:.6f}",
            }
        return {**fields, "text": entry.text} if self._show_text else fields


def agreement(client: redis.Redis, stream: str, champion: str, challenger: str) -> tuple[int, int]:
    """How many messages two artifacts were compared on, and on how many they agreed.

    Raises UnavailableError where Redis does not answer.
    """
    with translated():
        found = cast("dict[bytes, bytes]", client.hgetall(counts_key(stream)))
    pair = f"{champion} {challenger} "
    counts = {
        name.decode().removeprefix(pair): int(count)
        for name, count in found.items()
        if name.decode().startswith(pair)
    }
    return sum(counts.values()), counts.get("same", 0)
