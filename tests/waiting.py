"""Waiting in tests: poll with a deadline, never sleep and hope."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], what: str = "", within_s: float = 30.0) -> T:
    """The first true answer of ``condition``; AssertionError where none comes in time."""
    deadline = time.monotonic() + within_s
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what or condition}")
        time.sleep(0.01)


async def soon(condition: Callable[[], Awaitable[T]], within_s: float = 30.0) -> T:
    """``eventually`` for what has to be awaited."""
    async with asyncio.timeout(within_s):
        while not (answer := await condition()):  # noqa: ASYNC110 - what is waited for is outside
            await asyncio.sleep(0.02)
    return answer
