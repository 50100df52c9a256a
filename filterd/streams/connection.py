"""Connections to Redis, and its errors in filterd's words: the only place that knows them."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import redis.asyncio
from redis import connection as blocking
from redis import exceptions
from redis.asyncio import connection as asynchronous
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from filterd.address import TLS, TLS_FILES, Address
from filterd.errors import GroupMissingError, SettingsError, UnavailableError
from filterd.streams.primary import (
    BlockingSeeking,
    BlockingSeekingTLS,
    Seek,
    Seeking,
    SeekingTLS,
    at_sentinels,
    in_cluster,
)

T = TypeVar("T")

SOCKET_TIMEOUT_S = 10.0
"""Longer than any BLOCK that we send, so that only a dead line runs into it."""
CONNECT_TIMEOUT_S = 5.0

REFUSALS = {
    "OOM": "oom",
    "MISCONF": "misconf",
    "READONLY": "readonly",
    "LOADING": "loading",
    "BUSY": "busy",
    "CLUSTERDOWN": "clusterdown",
    "MASTERDOWN": "masterdown",
    "MOVED": "moved",
    "ASK": "moved",
    "TRYAGAIN": "moved",
    "NOREPLICAS": "noreplicas",
    "NOAUTH": "auth",
    "WRONGPASS": "auth",
    "unauthenticated": "auth",
    "AUTH <password> called": "auth",
    "but no password is set": "auth",
    "NOPERM": "noperm",
    "WRONGTYPE": "wrongtype",
    "ACL failure": "noperm",
    "The user executing the script can't": "noperm",
}
"""What a server says when it refuses, and the word that metrics count it under. To a command of
more than ten words from nobody that it knows it says 'unauthenticated multibulk length'; what it
says of a password where none is set depends on its age. The last two are Valkey's and Redis's words
for NOPERM inside a script."""

KINDS = frozenset({*REFUSALS.values(), "nogroup", "timeout", "tls", "away", "other"})
"""Every kind that an UnavailableError has."""

STARTING = frozenset({"loading", "busy", "masterdown", "clusterdown", "moved"})
"""Kinds that pass by themselves while a server starts or fails over."""

HINTS = {
    "auth": " (FILTERD_REDIS_URL gives the user and the password)",
    "moved": ": of a Redis Cluster whose slots stay where they are, set FILTERD_REDIS_CLUSTER=1",
}

_TLS = re.compile(r"\[(SSL|X509|PEM)\b|ssl\.SSL")
_TLS_REASON = re.compile(r"\[(?:SSL|X509|PEM)[^\]]*\]\s*(?:certificate verify failed: )?([^(]*)")
_REFUSAL = re.compile(r"\b(" + "|".join(REFUSALS) + r")\b")


def connect(url: str, key: str = "") -> redis.asyncio.Redis:
    """A client of one server; nothing is sent yet. key: in a cluster, whose slot it serves.

    It never retries by itself: a write that timed out may have happened, and only the settle
    script can be sent twice without harm. Raises SettingsError for a URL that cannot be used.
    """
    address = parsed(url)
    kind = _class(address, asynchronous.UnixDomainSocketConnection, Seeking, SeekingTLS)
    options = {**_options(address, key), "retry": AsyncRetry(NoBackoff(), 0)}
    return redis.asyncio.Redis.from_pool(asynchronous.ConnectionPool(kind, **options))


def connect_blocking(url: str, key: str = "") -> redis.Redis:
    """The same client for one thread."""
    address = parsed(url)
    plain, tls = BlockingSeeking, BlockingSeekingTLS
    kind = _class(address, blocking.UnixDomainSocketConnection, plain, tls)
    options = {**_options(address, key), "retry": Retry(NoBackoff(), 0)}
    return redis.Redis.from_pool(blocking.ConnectionPool(kind, **options))


def parsed(url: str) -> Address:
    """The address in a URL. Raises SettingsError, without showing it."""
    try:
        address = Address.parse(url)
        found = _url_options(address.url) if address.url else {}
    except ValueError as error:
        raise SettingsError(f"FILTERD_REDIS_URL: {error}") from None
    if _is_tls(address):
        _refuse_unusable(found)
    return address


def _refuse_unusable(found: dict[str, Any]) -> None:
    """Certificates that cannot be read, or do not belong together, are a setting's fault."""
    authority, certificate, key = (found.get(name) for name in TLS_FILES)
    name = TLS_FILES[0]
    try:
        context = ssl.create_default_context(cafile=authority)
        if certificate or key:
            name = "ssl_certfile or ssl_keyfile"
            context.load_cert_chain(certificate or "", key)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise SettingsError(f"FILTERD_REDIS_URL: {name} cannot be used: {reason}") from None


def _class(address: Address, unix: T, plain: T, tls: T) -> T:
    if address.kind == "unix":
        return unix
    return tls if _is_tls(address) else plain


def _is_tls(address: Address) -> bool:
    return address.url.startswith("rediss:")


def _options(address: Address, key: str) -> dict[str, Any]:
    """What a connection is made with: what the URL says, and what it cannot change."""
    found = _url_options(address.url)
    if address.kind != "unix":
        found["seek"] = _seek(address, key, found)
    short = {"socket_timeout": SOCKET_TIMEOUT_S, "socket_connect_timeout": CONNECT_TIMEOUT_S}
    return {**found, **short, "protocol": 2}


def _url_options(url: str) -> dict[str, Any]:
    return {k: v for k, v in blocking.parse_url(url).items() if k != "connection_class"}


def _seek(address: Address, key: str, found: dict[str, Any]) -> Seek | None:
    login = {name: found.get(name) for name in ("username", "password")}
    tls = {"ssl": True} if _is_tls(address) else {}
    tls |= {name: found[name] for name in TLS & found.keys()}
    if address.kind == "sentinel":
        return at_sentinels(address.nodes, address.service, {**address.sentinel_login, **tls})
    return in_cluster(address.nodes, key, {**login, **tls}) if address.kind == "cluster" else None


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
    if _TLS.search(message):
        return UnavailableError(_tls_refusal(message), "tls")
    found = _REFUSAL.search(message)
    if found is None and lost:
        return UnavailableError(
            f"Redis cannot be reached: {message.rstrip('.')} (FILTERD_REDIS_URL says where)", "away"
        )
    kind = REFUSALS[found[1]] if found else "other"
    hint = HINTS.get(kind, "")
    if "cluster support disabled" in message:
        hint = ": it is no Redis Cluster, so FILTERD_REDIS_CLUSTER must not be set"
    return UnavailableError(f"Redis refuses: {message}{hint}", kind)


def _tls_refusal(message: str) -> str:
    said = _TLS_REASON.search(message)
    reason = (said[1] if said else message).strip().lower()
    if "CERTIFICATE_VERIFY_FAILED" in message:
        return f"Redis's certificate is not trusted: {reason} (ssl_ca_certs in FILTERD_REDIS_URL)"
    if "ALERT" in message:
        return (
            f"Redis refuses this client's certificate: {reason} "
            "(ssl_certfile and ssl_keyfile in FILTERD_REDIS_URL)"
        )
    return f"no TLS with Redis: {reason} (rediss:// and ssl_… in FILTERD_REDIS_URL)"
