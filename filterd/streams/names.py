"""The names of one group's streams, and of the keys that are derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from filterd.partitions import MANY, numbered

if TYPE_CHECKING:
    from filterd.settings import Settings


@dataclass(frozen=True, slots=True)
class StreamNames:
    """The streams of one group, of one partition where there are several.

    partitioned: an entry's id is unique only together with its stream.
    """

    input: str
    output: str
    dead: str
    group: str
    partitioned: bool = False

    @classmethod
    def _numbered(cls, settings: Settings, number: int) -> StreamNames:
        names = (settings.input_stream, settings.output_stream, settings.dead_stream)
        input_, output, dead = (numbered(name, number) for name in names)
        partitioned = MANY in settings.input_stream
        return cls(input_, output, dead, settings.group, partitioned)

    @classmethod
    def all_of(cls, settings: Settings) -> tuple[StreamNames, ...]:
        """As they are set, of each partition."""
        return tuple(cls._numbered(settings, number) for number in range(settings.partitions))

    @property
    def closed(self) -> str:
        """Where ``dead replay`` and ``dead drop`` leave word; it shares the dead letters' slot."""
        return closed_key(self.dead)


def closed_key(dead: str) -> str:
    """The stream that keeps what became of dead letters that were replayed or dropped."""
    tag = dead if "{" in dead else f"{{{dead}}}"
    return f"{tag}:closed"
