"""Connections to Redis, and its errors in filterd's words: the only place that knows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from filterd.errors import GroupMissingError, UnavailableError

SOCKET_TIMEOUT_S = 10.0
"""Longer than any BLOCK that we send, so that only a dead line runs into it."""

REFUSALS = {
    "OOM": "oom",
    "MISCONF": "misconf",
    "READONLY": "readonly",
    "LOADING": "loading",
    "BUSY": "busy",
    "CLUSTERDOWN": "clusterdown",
    "MASTERDOWN": "masterdown",
    "NOREPLICAS": "noreplicas",
    "NOAUTH": "auth",
    "WRONGPASS": "auth",
    "NOPERM": "noperm",
    "WRONGTYPE": "wrongtype",
    "ACL failure": "noperm",
    "The user executing the script can't": "noperm",
}
"""What a server says when it refuses, and the word that metrics count it under. The last two are
Valkey's and Redis's words for NOPERM inside a script."""

KINDS = frozenset({*REFUSALS.values(), "nogroup", "timeout", "away", "other"})
"""Every kind that an UnavailableError has."""

STARTING = frozenset({"loading", "busy", "masterdown", "clusterdown"})
"""Kinds that pass by themselves while a server starts or fails over."""

_REFUSAL = re.compile(r"\b(" + "|".join(REFUSALS) + r")\b")


def connect(url: str) -> redis.asyncio.Redis:
    """A client of one server; nothing is sent yet.

    It never retries by itself: a write that timed out may have happened, and only the settle
    script can be sent twice without harm.
    """
    tcp = {} if url.startswith("unix:") else {"socket_keepalive": True}
    return redis.asyncio.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=5.0,
        retry=Retry(NoBackoff(), 0),
        **tcp,
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn every error of redis-py into an UnavailableError with a bounded kind."""
    try:
        yield
    except exceptions.TimeoutError as error:
        raise UnavailableError("Redis did not answer in time", "timeout") from error
    except (exceptions.ConnectionError, exceptions.ResponseError) as error:
        # redis-py takes the first word away from the message and keeps it beside.
        words = f"{getattr(error, 'status_code', None) or ''} {error}".strip()
        raise refusal(words, isinstance(error, exceptions.ConnectionError)) from error
    except OSError as error:
        raise UnavailableError(f"Redis cannot be reached: {error.strerror}", "away") from error


def refusal(message: str, lost: bool = False) -> UnavailableError:
    """What a server's words mean. ``lost``: the connection is gone."""
    if "NOGROUP" in message:
        return GroupMissingError("the input stream or its consumer group is gone")
    found = _REFUSAL.search(message)
    if found is None and lost:
        return UnavailableError(
            f"Redis cannot be reached: {message.rstrip('.')} (FILTERD_REDIS_URL says where)", "away"
        )
    kind = REFUSALS[found[1]] if found else "other"
    return UnavailableError(f"Redis refuses: {message}", kind)
