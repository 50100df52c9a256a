"""HTTP: the page, metrics and health, beside the routes of ``/api``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from filterd.api import Api, json_errors
from filterd.errors import SettingsError
from filterd.guards import add_headers, own_names_only

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PAGE = Path(__file__).parent / "web"


@asynccontextmanager
async def serve(
    host: str,
    port: int,
    registry: CollectorRegistry,
    why_not_ready: Callable[[], str],
    api: Api,
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port.

    why_not_ready: empty while the daemon is ready, else what it waits for.
    Raises SettingsError where the address cannot be had.
    """
    app = web.Application(
        middlewares=[json_errors, own_names_only(host)], client_max_size=api.most_body_bytes
    )
    app.on_response_prepare.append(add_headers)
    app.add_routes([*_plain_routes(registry, why_not_ready), *_page_routes(), *api.routes()])
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


def _plain_routes(
    registry: CollectorRegistry, why_not_ready: Callable[[], str]
) -> list[web.RouteDef]:
    async def metrics(_: web.Request) -> web.Response:
        body = generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reason = why_not_ready()
        return web.Response(text=(reason or "ready") + "\n", status=503 if reason else 200)

    return [
        web.get("/metrics", metrics),
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
    ]


def _page_routes() -> list[web.RouteDef]:
    """The page and each file of it, by name: there is no path that a request could bend."""

    def route(path: str, file: Path) -> web.RouteDef:
        async def send(_: web.Request) -> web.FileResponse:
            return web.FileResponse(file, headers={"Cache-Control": "no-cache"})

        return web.get(path, send)

    files = sorted(file for file in PAGE.rglob("*") if file.is_file())
    named = [route(f"/page/{file.relative_to(PAGE).as_posix()}", file) for file in files]
    return [route("/", PAGE / "index.html"), *named]
