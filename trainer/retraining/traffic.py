"""The latest traffic, as far as the streams still hold it: to see whether it drifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis

from filterd.streams.connection import translated

MOST = 2000


@dataclass(frozen=True, slots=True)
class Traffic:
    """Where messages come in and verdicts go out."""

    client: redis.Redis
    inputs: Sequence[str]
    outputs: Sequence[str]

    def latest(self) -> tuple[list[str], list[float]]:
        """The texts and the scores of the last messages and verdicts, which need not be the same.

        Raises UnavailableError where Redis does not answer.
        """
        texts = [value.decode(errors="replace") for value in self._last(self.inputs, b"text")]
        return texts, [float(value) for value in self._last(self.outputs, b"score")]

    def _last(self, streams: Sequence[str], field: bytes) -> list[bytes]:
        found: list[bytes] = []
        for stream in streams:
            with translated():
                entries: Any = self.client.xrevrange(stream, count=max(1, MOST // len(streams)))
            found += [fields[field] for _, fields in entries if field in fields]
        return found
