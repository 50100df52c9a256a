"""The HTTP side of a daemon for tests: real server, real Redis, real model, no pipeline."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry

from filterd.classifier import Classifier
from filterd.metrics import Metrics
from filterd.panel import Panel
from filterd.settings import Settings
from filterd.streams.connection import connect
from filterd.web import serve


@dataclass
class Site:
    """A listening panel, and a session to ask it with."""

    panel: Panel
    metrics: Metrics
    session: aiohttp.ClientSession
    port: int = 0
    waits_for: str = "the model"

    async def ask(
        self, method: str, path: str, json: object = None, **headers: str
    ) -> tuple[int, Any]:
        """Status, and the answer: an object below /api, else text."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(method, url, json=json, headers=named) as response:
            if path.startswith("/api/"):
                assert (await response.text()).count("\n") == 1
                return response.status, await response.json()
            return response.status, await response.text()

    async def get(self, path: str, host: str | None = None) -> tuple[int, Any]:
        """GET, under a name of its own."""
        return await self.ask("GET", path, **({} if host is None else {"Host": host}))


def settings_of(redis_url: str, prefix: str) -> Settings:
    """Settings of a daemon whose streams no other test uses."""
    return Settings(
        redis_url=redis_url,
        group=f"{prefix}-group",
        consumer="one",
        max_text_bytes=200,
        **{
            f"{name}_stream": f"{prefix}:{name}" for name in ("input", "output", "dead", "feedback")
        },
    )


@asynccontextmanager
async def open_site(
    settings: Settings, classifier: Classifier | None = None, *, redis: bool = True
) -> AsyncIterator[Site]:
    """Serve a panel; it has a model where one is given. redis: whether it is connected."""
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        panel = Panel(settings, registry, lambda: site.waits_for)
        site = Site(panel, Metrics(registry), session)
        if redis:
            url = settings.redis_url.get_secret_value()
            connection = await stack.enter_async_context(connect(url))
            asking = await stack.enter_async_context(panel.watching(connection, url))
            if classifier is not None:
                panel.serves(asking, lambda: classifier)
        site.port = await stack.enter_async_context(
            serve(settings.http_host, 0, registry, lambda: site.waits_for, panel.api)
        )
        yield site


@asynccontextmanager
async def events(site: Site, **headers: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """The names and objects of the live events."""
    url = f"http://127.0.0.1:{site.port}/api/events"
    async with site.session.get(url, headers=headers) as response:
        assert response.status == 200

        async def parsed() -> AsyncIterator[tuple[str, Any]]:
            name = ""
            async for line in response.content:
                if line.startswith(b"event: "):
                    name = line[7:].decode().strip()
                elif line.startswith(b"data: "):
                    yield name, json.loads(line[6:])

        yield parsed()
