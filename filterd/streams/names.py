"""The names of one group's streams, and of the keys that are derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filterd.settings import Settings


@dataclass(frozen=True, slots=True)
class StreamNames:
    """The streams of one group."""

    input: str
    output: str
    dead: str
    group: str

    @classmethod
    def of(cls, settings: Settings) -> StreamNames:
        """As they are set."""
        names = (settings.input_stream, settings.output_stream, settings.dead_stream)
        return cls(*names, settings.group)

    @property
    def closed(self) -> str:
        """Where ``dead replay`` and ``dead drop`` leave word; it shares the dead letters' slot."""
        return closed_key(self.dead)


def closed_key(dead: str) -> str:
    """The stream that keeps what became of dead letters that were replayed or dropped."""
    tag = dead if "{" in dead else f"{{{dead}}}"
    return f"{tag}:closed"
