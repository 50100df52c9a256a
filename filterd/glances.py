"""Glances: the newest verdicts, looked at once a tick for however many pages listen."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from filterd.errors import UnavailableError
from filterd.feedback import order
from filterd.recent import Filter, recent
from filterd.tail import Seen, View

SHOWN = 60
"""Verdicts that an event brings along, and that a page begins with."""


@dataclass(frozen=True, slots=True)
class Glance:
    """The newest verdicts and the number of dead letters, or why they are unknown."""

    seen: Sequence[Seen] = ()
    dead: int = 0
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """What there is to look at. views: of each partition · dead_letters: of all of them."""

    views: Sequence[View]
    dead_letters: Callable[[], int]


class Glances:
    """sight: of verdicts with texts or without; None while the daemon starts.

    every_s: a tick; a look that takes longer holds up no listener.
    """

    def __init__(self, sight: Callable[[bool], Sight | None], every_s: float) -> None:
        self._sight, self._every_s = sight, every_s
        self._locks = {True: asyncio.Lock(), False: asyncio.Lock()}
        self._made: dict[bool, tuple[float, Glance]] = {}
        self._looks: dict[bool, asyncio.Task[Glance]] = {}

    async def newest(self, texts: bool) -> Glance:
        """What every listener is told in this tick. texts: whether they are shown."""
        clock = asyncio.get_running_loop().time
        async with self._locks[texts]:
            made_s, glance = self._made.get(texts, (-math.inf, Glance()))
            if clock() - made_s > self._every_s / 2:
                glance = await self._in_time(texts)
                self._made[texts] = (clock(), glance)
        return glance

    async def _in_time(self, texts: bool) -> Glance:
        """A look that takes longer than a tick goes on, and a later glance has what it found."""
        look = self._looks.get(texts)
        if look is None:
            look = self._looks[texts] = asyncio.create_task(self._look(texts))
        done, _ = await asyncio.wait({look}, timeout=self._every_s)
        if not done:
            return Glance(unknown="Redis takes long to answer")
        del self._looks[texts]
        return look.result()

    async def _look(self, texts: bool) -> Glance:
        sight = self._sight(texts)
        if sight is None:
            return Glance(unknown="the daemon is starting")
        try:
            return await asyncio.to_thread(_seen, sight)
        except UnavailableError as error:
            return Glance(unknown=str(error))


def fresh(glance: Glance, sent: dict[str, str]) -> list[Seen]:
    """What was not told before. sent: the last that was, of each partition; it is moved on."""
    before = dict(sent)
    found = []
    for one in glance.seen:  # newest first
        stream = one.fields.get("stream", "")
        if order(one.cursor) > order(before.get(stream, "0-0")):
            found.append(one)
            sent[stream] = max(one.cursor, sent.get(stream, "0-0"), key=order)
    return found


def _seen(sight: Sight) -> Glance:
    found = recent(sight.views, Filter(), SHOWN)
    if found.unknown:
        return Glance(found.verdicts, unknown=found.unknown)
    return Glance(found.verdicts, sight.dead_letters())
