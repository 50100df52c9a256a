"""Shared by the tests of the scripts: streams of their own on the session's server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from filterd.streams.connection import connect
from tests.streams.rooms import Room


@pytest.fixture
async def room(redis_url: str, prefix: str) -> AsyncIterator[Room]:
    """Streams that no other test uses, deleted at its end."""
    redis = connect(redis_url)
    yield Room(redis, prefix)
    await redis.delete(*[key async for key in redis.scan_iter(f"*{prefix}*")], prefix)
    await redis.aclose()
