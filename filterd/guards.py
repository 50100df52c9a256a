"""Guards: who may ask this daemon for what, and what every answer tells the browser.

A daemon on the loopback address is in reach of every web page that its user opens. So a request
must come under a name of this machine (else a page of another name that resolves to 127.0.0.1
could read it: DNS rebinding), from no page but our own (Origin), and what changes anything must be
JSON, which no foreign form can send. On any other address, writing and texts take a token.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from filterd.settings import is_loopback

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what. token: empty where none is set."""

    host: str
    token: str = ""

    @property
    def open(self) -> bool:
        """Whether writing takes no token: only this machine can reach the daemon."""
        return not self.token and is_loopback(self.host)

    def allows(self, request: web.Request) -> bool:
        """Whether this request may write, and see texts."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if not self.token:
            return self.open
        right = hmac.compare_digest(
            given.strip().encode(errors="surrogateescape"), self.token.encode()
        )
        return scheme.lower() == "bearer" and right

    def demand(self, request: web.Request) -> None:
        """Raise the answer to a request that may not write."""
        if self.allows(request):
            return
        if not self.token:
            raise web.HTTPForbidden(
                text="others can reach this address: set FILTERD_HTTP_TOKEN to write here"
            )
        raise web.HTTPUnauthorized(
            text="give the token of FILTERD_HTTP_TOKEN, as Authorization: Bearer TOKEN",
            headers={"WWW-Authenticate": "Bearer"},
        )


def own_names_only(host: str) -> Middleware:
    """Refuse what a foreign page asks, whatever name it came by."""
    allowed = LOOPBACK_NAMES | {host} if is_loopback(host) else None

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.headers.get("Host", "")
        if allowed is not None and _hostname(name) not in allowed:
            raise web.HTTPForbidden(text="unknown Host")
        if not _is_own(request.headers.get("Origin"), name):
            raise web.HTTPForbidden(text="unknown Origin")
        if request.path.startswith("/api/") and _from_elsewhere(request):
            raise web.HTTPForbidden(text="ask from the page of this daemon")
        return await handler(request)

    return check


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """What the browser must not do with any answer."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def _is_own(origin: str | None, name: str) -> bool:
    """Whether a page that asks was served under the name that it asks for."""
    if origin is None:
        return True
    _, found, place = origin.lower().partition("://")
    return bool(found) and place == name.lower()


def _from_elsewhere(request: web.Request) -> bool:
    """What a browser says of a request without Origin, such as an image's."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")


def _hostname(header: str) -> str | None:
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None
