"""The latest traffic, as far as the streams still hold it: to see whether it drifts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

from filterd.entries import DEFAULT_NAMES
from filterd.streams.connection import translated

MOST = 2000


@dataclass(frozen=True, slots=True)
class Traffic:
    """Where messages come in and verdicts go out: of each partition a client, and both streams.

    text_field: of the messages.
    """

    partitions: Sequence[tuple[redis.Redis, str, str]]
    text_field: bytes = DEFAULT_NAMES.text

    def latest(self) -> tuple[list[str], list[float]]:
        """The texts and the scores of the last messages and verdicts, which need not be the same.

        Raises UnavailableError where Redis does not answer.
        """
        texts: list[str] = []
        scores: list[float] = []
        for client, messages, verdicts in self.partitions:
            found = self._last(client, messages, self.text_field)
            texts += [value.decode(errors="replace") for value in found]
            scores += scores_among(self._last(client, verdicts, b"score"))
        return texts, scores

    def _last(self, client: redis.Redis, stream: str, field: bytes) -> list[bytes]:
        count = max(1, MOST // len(self.partitions))
        with translated():
            entries: Any = client.xrevrange(stream, count=count)
        return [fields[field] for _, fields in entries if field in fields]


def scores_among(values: Iterable[bytes]) -> list[float]:
    """Those that are scores, 0 to 1: who else writes to the stream may write anything."""
    found = []
    for value in values:
        try:
            score = float(value)
        except ValueError:
            continue
        if 0 <= score <= 1:
            found.append(score)
    return found
