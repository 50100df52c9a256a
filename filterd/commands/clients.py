"""The clients of a command at the terminal, which says what it made to have them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis


def told_clients(url: str, keys: Sequence[str]) -> AbstractContextManager[list[redis.Redis]]:
    """``open_clients``, and a line to the user where the directory of ``embedded:`` is new."""
    from filterd.streams.client import open_client, open_clients
    from filterd.terminal import say_made

    return open_clients(url, keys, partial(open_client, made=say_made))
