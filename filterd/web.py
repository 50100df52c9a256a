"""HTTP: metrics and health."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from filterd.errors import SettingsError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware
    from prometheus_client import CollectorRegistry

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@asynccontextmanager
async def serve(
    host: str, port: int, registry: CollectorRegistry, why_not_ready: Callable[[], str]
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port.

    why_not_ready: empty while the daemon is ready, else what it waits for.
    Raises SettingsError where the address cannot be had.
    """
    app = web.Application(middlewares=[_own_names_only(host)])

    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reason = why_not_ready()
        return web.Response(text=(reason or "ready") + "\n", status=503 if reason else 200)

    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port} ({error.strerror or error}): "
                "set FILTERD_HTTP_PORT or FILTERD_HTTP_HOST"
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _own_names_only(host: str) -> Middleware:
    """Refuse requests under a foreign name, so that no web page can reach a loopback daemon."""
    allowed = LOOPBACK_NAMES | {host} if _is_loopback(host) else None

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if allowed is not None and _hostname(request.headers.get("Host", "")) not in allowed:
            raise web.HTTPForbidden(text="unknown Host\n")
        return await handler(request)

    return check


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hostname(header: str) -> str | None:
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None
