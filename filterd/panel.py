"""The panel: all that the page and ``/api`` need of a daemon, wired."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from filterd import __version__
from filterd.api import Api, Backstage, Facts
from filterd.artifact import training_scores
from filterd.classifier import Classifier
from filterd.entries import FieldNames
from filterd.guards import Access
from filterd.monitor import Monitor
from filterd.streams.client import open_clients
from filterd.streams.connection import connect_blocking, translated
from filterd.streams.feedback import FeedbackStream
from filterd.streams.names import StreamNames
from filterd.streams.presence import Presence, Record
from filterd.tail import View

if TYPE_CHECKING:
    import redis
    from prometheus_client import CollectorRegistry
    from redis.asyncio import Redis

    from filterd.settings import Settings


log = structlog.get_logger()

Asking = Mapping[str, "redis.Redis"]
"""Clients by the stream that they are asked about: of inputs, and what shares their slots."""


class Panel:
    """What a daemon shows and takes over HTTP. waits_for: empty while the daemon is ready."""

    def __init__(
        self, settings: Settings, registry: CollectorRegistry, waits_for: Callable[[], str]
    ) -> None:
        self._settings = settings
        self._waits_for = waits_for
        self._started_s = time.time()
        self._classifier: Callable[[], Classifier] | None = None
        self.monitor = Monitor(settings.consumer_name, registry, self._describe)
        access = Access(settings.http_host, settings.http_token.get_secret_value())
        self._names = StreamNames.all_of(settings)
        streams = {
            "input": settings.input_stream,
            "output": settings.output_stream,
            "dead": settings.dead_stream,
            "feedback": settings.feedback_stream,
        }
        facts = Facts(
            settings.group,
            streams,
            settings.partitions,
            settings.show_text,
            settings.max_text_bytes,
        )
        self.api = Api(access, facts, self.monitor)

    @asynccontextmanager
    async def watching(self, connection: Redis, url: str) -> AsyncIterator[Asking]:
        """Sample, and be one of the group's daemons, until the block ends; yields clients.

        Pages ask through these clients of their own, in threads: the pipeline's never wait for it.
        """
        settings, first = self._settings, self._names[0].input
        keys = [*(names.input for names in self._names), settings.feedback_stream]
        self.monitor.presence = Presence(connection, first, settings.group, settings.consumer_name)
        watching = asyncio.create_task(self.monitor.run())
        watching.add_done_callback(_tell_failure)
        try:
            with open_clients(url, keys, connect_blocking) as clients:
                yield dict(zip(keys, clients, strict=True))
        finally:
            self.monitor.end()
            watching.cancel()
            await asyncio.wait({watching})
            await self.monitor.leave()

    def serves(self, clients: Asking, classifier: Callable[[], Classifier]) -> None:
        """From now on there is a model; ``classifier`` gives the one that serves now."""
        settings = self._settings
        self._classifier = classifier
        inputs = tuple(own.input for own in self._names)
        names = FieldNames.of(settings)

        def dead_letters() -> int:
            with translated():
                lengths: Any = [clients[own.input].xlen(own.dead) for own in self._names]
            return sum(map(int, lengths))

        stream = settings.feedback_stream
        self.api.backstage = Backstage(
            views=[
                View(clients[own.input], own.output, own.input, names.text) for own in self._names
            ],
            dead_letters=dead_letters,
            feedback=FeedbackStream(
                clients[stream], stream, inputs, settings.max_text_bytes, names, clients
            ),
            classifier=classifier,
            reference=lambda: training_scores(classifier().engine.folder),
        )

    def _describe(self) -> Record:
        """What is constant or slow about this daemon."""
        waits_for = self._waits_for()
        about = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "http": f"{self._settings.http_host}:{self._settings.http_port}",
            "started": round(self._started_s, 1),
            "ready": not waits_for,
            "waits_for": waits_for,
        }
        if self._classifier is None:
            return about
        classifier = self._classifier()
        manifest = classifier.engine.manifest
        return {
            **about,
            "artifact": manifest.version,
            "backbone": manifest.backbone,
            "precision": classifier.engine.precision,
            "device": classifier.engine.device.type,
            "threshold": classifier.threshold,
        }


def _tell_failure(watching: asyncio.Task[None]) -> None:
    """The page stands still then, and somebody should know why; the daemon goes on."""
    if not watching.cancelled() and (error := watching.exception()):
        log.error("the page shows nothing new any more", error=repr(error))
