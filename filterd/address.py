"""Where Redis is: the forms that ``FILTERD_REDIS_URL`` can have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlencode, urlsplit, urlunsplit

Kind = Literal["server", "unix", "embedded", "sentinel", "cluster"]
Node = tuple[str, int]

KINDS: dict[str, Kind] = {
    "redis": "server",
    "rediss": "server",
    "unix": "unix",
    "embedded": "embedded",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
FORMS: dict[Kind, str] = {
    "server": "[USER:PASSWORD@]HOST[:PORT][/DB]",
    "sentinel": "[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]/SERVICE[/DB]",
    "cluster": "[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]",
}
PORTS: dict[Kind, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}

ANYWHERE = frozenset({"client_name", "health_check_interval"})
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS = frozenset({*TLS_FILES, "ssl_check_hostname"})
SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")
"""Of the sentinels themselves, where they want another login than Redis."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is, parsed.

    url: as redis-py reads it, with the first host · directory: of ``embedded:`` ·
    nodes: whom to ask where the primary is · service: its name at the sentinels ·
    sentinel_login: user and password there.
    """

    kind: Kind
    url: str = field(repr=False)
    directory: str = ""
    nodes: tuple[Node, ...] = ()
    service: str = ""
    sentinel_login: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises ValueError, never showing the URL, where its form is wrong."""
        scheme, _, rest = url.partition(":")
        kind = KINDS.get(scheme)
        if kind is None:
            known = ", ".join(f"{name}:" for name in KINDS)
            raise ValueError(f"begins with none of {known}")
        if not rest.strip("/"):
            raise ValueError(f"{scheme}: what follows is empty")
        if kind == "embedded":
            return cls(kind, "", directory=rest)
        try:
            parts = urlsplit(url)
            return _unix(url, parts) if kind == "unix" else _network(kind, parts)
        except _ParameterError:
            raise
        except ValueError:
            form = FORMS.get(kind, "/PATH")
            raise ValueError(f"is not of the form {scheme}://{form}") from None


class _ParameterError(ValueError):
    """A query parameter that says what is wrong with it."""


def with_cluster(url: str) -> str:
    """The URL, saying that its hosts are nodes of a cluster. Raises ValueError."""
    scheme, _, rest = url.partition(":")
    if scheme in ("redis", "rediss"):
        return f"{scheme}+cluster:{rest}"
    if KINDS.get(scheme) == "cluster":
        return url
    raise ValueError("FILTERD_REDIS_CLUSTER goes with redis:// or rediss:// in FILTERD_REDIS_URL")


def _unix(url: str, parts: SplitResult) -> Address:
    _parameters(parts, ANYWHERE | {"db"})
    return Address("unix", url)


def _network(kind: Kind, parts: SplitResult) -> Address:
    scheme = parts.scheme.partition("+")[0]
    login, at, hosts = parts.netloc.rpartition("@")
    nodes = tuple(_node(host, PORTS[kind]) for host in hosts.split(","))
    if kind == "server" and len(nodes) > 1:
        raise ValueError
    service, database = _path(kind, parts.path.strip("/"))
    known = ANYWHERE | (TLS if scheme == "rediss" else frozenset())
    query = _parameters(parts, known | (set(SENTINEL_LOGIN) if kind == "sentinel" else set()))
    own = {key.partition("_")[2]: query.pop(key) for key in SENTINEL_LOGIN if key in query}
    host, port = nodes[0]
    netloc = f"{login}{at}{f'[{host}]' if ':' in host else host}:{port}"
    url = urlunsplit((scheme, netloc, f"/{database}", urlencode(query), ""))
    asked = () if kind == "server" else nodes
    return Address(kind, url, nodes=asked, service=service, sentinel_login=own)


def _node(host: str, port: int) -> Node:
    parts = urlsplit(f"//{host}")
    if not parts.hostname or parts.port == 0:
        raise ValueError
    return unquote(parts.hostname), parts.port or port


def _path(kind: Kind, path: str) -> tuple[str, str]:
    """The service and the database in a URL's path."""
    service, _, database = path.partition("/") if kind == "sentinel" else ("", "", path)
    if (kind == "sentinel") != bool(service) or (database and not database.isdecimal()):
        raise ValueError
    if kind == "cluster" and int(database or 0):
        raise ValueError
    return unquote(service), database


def _parameters(parts: SplitResult, known: frozenset[str] | set[str]) -> dict[str, str]:
    """The query: one value a name; what we set ourselves cannot be set there."""
    query = parse_qs(parts.query, keep_blank_values=True)
    if len(query) > len(known.intersection(query)):
        can = ", ".join(sorted(known))
        raise _ParameterError(f"has an unknown parameter after '?': {parts.scheme}: knows {can}")
    return {name: values[-1] for name, values in query.items()}
