"""The daemon's life: start, serve, drain, stop; and the wiring of all its parts."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from redis.asyncio import Redis

from filterd import logs
from filterd.artifact import STARTER, read_manifest
from filterd.classifier import Classifier
from filterd.deadlog import DeadLog
from filterd.entries import FieldNames, wanted_fields
from filterd.metrics import Metrics
from filterd.notify import Notifier
from filterd.panel import Panel
from filterd.pipeline import Pipeline, PipelineConfig
from filterd.reloading import Reloader
from filterd.scoring import Scorer
from filterd.settings import Settings
from filterd.shadow import Shadow
from filterd.streams.client import reachable
from filterd.streams.clients import Clients, connected
from filterd.streams.consumer import Consumer, ReadConfig
from filterd.streams.lease import Lease, held
from filterd.streams.names import StreamNames
from filterd.streams.scripts import Wait
from filterd.streams.settling import Settler
from filterd.streams.shadowing import Disagreements
from filterd.streams.trimming import Trimmer
from filterd.upkeep import trim, watch
from filterd.web import serve

log = structlog.get_logger()

READ_BYTES = 4_194_304
"""Of one read of all partitions together."""


def run_daemon(settings: Settings, notifier: Notifier) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Raises SettingsError, ArtifactError or UnavailableError where it cannot start.
    """
    logs.configure(settings.log_format)
    read_manifest(settings.artifact or STARTER)  # one that is not there is said before Redis is
    with reachable(settings.server, _log_made) as url:
        asyncio.run(_serve(settings, url, notifier))


def _log_made(directory: Path) -> None:
    log.info("made the server's directory", directory=str(directory))


async def _serve(settings: Settings, url: str, notifier: Notifier) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    metrics, waiting = Metrics(registry), ["the model"]
    metrics.ready.set_function(lambda: not waiting[0])
    metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
    host, port = settings.http_host, settings.http_port
    inputs = [names.input for names in StreamNames.all_of(settings)]
    panel = Panel(settings, registry, lambda: waiting[0])
    async with (
        notifier.telling(lambda: waiting[0], stop),
        serve(host, port, registry, lambda: waiting[0], panel.api) as bound,
        connected(url, inputs, stop, cluster=settings.redis_cluster) as clients,
        held(_lease(settings, clients, inputs[0]), stop),
        panel.watching(clients.of(inputs[0]), url) as asking,
    ):
        log.info("listening", http=f"http://{host}:{bound}", consumer=settings.consumer_name)
        path = settings.artifact or STARTER
        reloader = Reloader(path, partial(_load, settings), metrics.reloads, settings.reload_s)
        loop.add_signal_handler(signal.SIGHUP, reloader.ask)
        classifier = await asyncio.to_thread(reloader.first)
        _serves(metrics, classifier)
        manifest, precision = classifier.engine.manifest, classifier.engine.precision
        log.info("model is warm", artifact=manifest.version, precision=precision)
        show = partial(panel.serves, asking)
        await _run(settings, clients, classifier, reloader, metrics, show, stop, waiting)
    log.info("stopped")


async def _run(
    settings: Settings,
    clients: Clients,
    classifier: Classifier,
    reloader: Reloader,
    metrics: Metrics,
    show: Callable[[Callable[[], Classifier]], None],
    stop: asyncio.Event,
    waiting: list[str],
) -> None:
    partitions = _partitions(settings, clients)
    scorer = _scorer(settings, classifier, metrics)
    show(lambda: scorer.classifier)
    limits = PipelineConfig(settings.linger_s, settings.claim_idle_s)
    shadows = clients.of(settings.shadow_stream)
    disagreements = Disagreements(shadows, settings.shadow_stream, show_text=settings.shadow_text)
    shadow = Shadow(settings.shadow_share, metrics, disagreements)
    dead = DeadLog()
    pipeline = Pipeline(limits, partitions, scorer, metrics, stop, [shadow.watch, dead.watch])
    upkeep = [
        asyncio.create_task(watch([consumer for consumer, _ in partitions], metrics)),
        asyncio.create_task(trim(_trimmers(settings, clients))),
        asyncio.create_task(reloader.run(partial(_swap, scorer, metrics))),
        asyncio.create_task(_shadow(settings, metrics, shadow)),
        asyncio.create_task(dead.run()),
    ]
    try:
        await _until_drained(pipeline, stop, waiting, settings.drain_s)
    finally:
        for task in upkeep:
            task.cancel()
        await asyncio.gather(*upkeep, return_exceptions=True)


async def _until_drained(
    pipeline: Pipeline, stop: asyncio.Event, waiting: list[str], drain_s: float
) -> None:
    """Serve until it is time to stop, then settle what is in flight, as far as time allows."""
    serving = asyncio.create_task(pipeline.run())
    stopped = asyncio.create_task(stop.wait())
    try:
        while not (serving.done() or stopped.done()):
            waiting[0] = pipeline.waiting_for
            await asyncio.wait({serving, stopped}, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        waiting[0] = "draining"
        await asyncio.wait({serving}, timeout=drain_s)
        if not serving.done():
            log.warning("not drained in time; the rest stays pending", seconds=drain_s)
            serving.cancel()
            await asyncio.wait({serving})
        else:
            serving.result()
    finally:
        for task in (stopped, serving):
            task.cancel()
        await asyncio.gather(stopped, serving, return_exceptions=True)


def _load(settings: Settings, path: Path) -> Classifier:
    return Classifier.load(
        path,
        device=settings.device,
        precision=settings.precision,
        threshold=settings.threshold,
        max_batch_tokens=settings.max_batch_tokens,
        threads=settings.threads,
    )


def _swap(scorer: Scorer, metrics: Metrics, classifier: Classifier | None) -> None:
    """Let a new classifier take over; None is only where there need not be one."""
    if classifier is not None:
        scorer.swap(classifier)
        _serves(metrics, classifier)


async def _shadow(settings: Settings, metrics: Metrics, shadow: Shadow) -> None:
    """Keep the challenger of the shadow current, where there is to be one."""
    if not settings.shadow_share:
        return
    path = settings.shadow_artifact or (settings.artifact or STARTER).with_name("challenger")
    reloader = Reloader(
        path, partial(_load, settings), metrics.shadow_reloads, settings.reload_s, optional=True
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(reloader.run(shadow.swap))
        tasks.create_task(shadow.run())


def _serves(metrics: Metrics, classifier: Classifier) -> None:
    manifest, precision = classifier.engine.manifest, classifier.engine.precision
    metrics.artifact_info.clear()
    metrics.artifact_info.labels(manifest.version, manifest.backbone, precision).set(1)


def _lease(settings: Settings, clients: Clients, stream: str) -> Lease:
    """Of all partitions together, kept beside the first one's stream."""
    return Lease(clients.of(stream), stream, settings.group, settings.consumer_name)


def _scorer(settings: Settings, classifier: Classifier, metrics: Metrics) -> Scorer:
    return Scorer(
        classifier,
        metrics,
        max_bytes=settings.max_text_bytes,
        max_deliveries=settings.max_deliveries,
        duplicates=settings.duplicate_cache,
        names=FieldNames.of(settings),
    )


def _partitions(settings: Settings, clients: Clients) -> list[tuple[Consumer, Settler]]:
    """Who reads and who settles, of each partition."""
    wait = Wait(settings.wait_replicas) if settings.wait_replicas else None
    return [
        (
            Consumer(clients.of(own.input), _read_config(settings, own)),
            _settler(settings, clients.of(own.input), own, wait),
        )
        for own in StreamNames.all_of(settings)
    ]


def _trimmers(settings: Settings, clients: Clients) -> list[Trimmer]:
    return [
        Trimmer(clients.of(own.input), own.input, own.group, settings.input_retention_s)
        for own in StreamNames.all_of(settings)
    ]


def _read_config(settings: Settings, names: StreamNames) -> ReadConfig:
    return ReadConfig(
        names.input,
        names.group,
        settings.consumer_name,
        wanted_fields(settings.carry_fields, FieldNames.of(settings)),
        settings.max_text_bytes,
        most_bytes=max(READ_BYTES // settings.partitions, settings.max_text_bytes),
    )


def _settler(settings: Settings, redis: Redis, names: StreamNames, wait: Wait | None) -> Settler:
    streams = (names.input, names.output, names.dead)
    named = names.partitioned
    return Settler(redis, names.group, streams, settings.output_maxlen, wait, named=named)
