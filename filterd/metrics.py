"""Every metric of the daemon, in a registry that the caller gives."""

from __future__ import annotations

from typing import Literal, get_args

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge

from filterd.batcher import Reason as DispatchReason
from filterd.entries import Label, Reason
from filterd.histogram import Histogram
from filterd.streams.connection import KINDS

ReloadResult = Literal["loaded", "refused"]
ShadowResult = Literal["same", "to_spam", "to_ham"]

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
TOKENS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536)
SHARES = tuple(step / 20 for step in range(1, 21))
SHIFTS = tuple(step / 10 for step in range(-10, 11))


class Series:
    """Makes the daemon's series in a registry, their names with the prefix ``filterd_``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """What only grows."""
        return Counter(name, text, labels, namespace="filterd", registry=self._registry)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """What rises and falls."""
        return Gauge(name, text, labels, namespace="filterd", registry=self._registry)

    def histogram(self, name: str, text: str, bounds: tuple[float, ...] = SECONDS) -> Histogram:
        """How values are spread."""
        return Histogram(f"filterd_{name}", text, bounds, self._registry)


class Metrics:
    """The series, by their names without the prefix ``filterd_``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        series = Series(registry)
        self._entries(series)
        self._backlog(series)
        self._batches(series)
        self._daemon(series)
        self._shadow(series)
        self._begin_at_zero()

    def _entries(self, series: Series) -> None:
        """What became of entries."""
        new = series.counter
        self.entries_read = new("entries_read", "New entries delivered to this daemon")
        self.claimed = new("claimed", "Entries taken over from an idle consumer")
        self.verdicts = new("verdicts", "Verdicts settled", "label")
        self.dead_letters = new("dead_letters", "Dead letters settled", "reason")
        self.settle_lost = new("settle_lost", "Outcomes that another daemon had settled")
        self.duplicate_hits = new(
            "duplicate_hits", "Entries answered by the verdict on an equal text"
        )
        self.wait_timeouts = new(
            "wait_timeouts", "Outcomes settled that too few replicas confirmed in time"
        )
        self.latency_seconds = series.histogram("latency_seconds", "Entry published until settled")
        self.score = series.histogram("score", "Scores of settled verdicts", SHARES)

    def _backlog(self, series: Series) -> None:
        """What waits."""
        new = series.gauge
        self.lag_entries = new("lag_entries", "Entries that the group has not been delivered")
        self.pending_entries = new("pending_entries", "Entries delivered and not settled")
        self.oldest_pending_seconds = new(
            "oldest_pending_seconds", "Age of the oldest entry that is pending"
        )
        self.oldest_undelivered_seconds = new(
            "oldest_undelivered_seconds", "Age of the oldest entry that was not delivered"
        )
        self.inflight_entries = new("inflight_entries", "Entries that this daemon works on")

    def _batches(self, series: Series) -> None:
        """A micro-batch on its way: its size, why it went, how long each step took."""
        new = series.histogram
        self.batch_dispatch = series.counter(
            "batch_dispatch", "Micro-batches, by why they went", "reason"
        )
        self.batch_entries = new("batch_entries", "Entries in a micro-batch", COUNTS)
        self.batch_tokens = new("batch_tokens", "Tokens in a micro-batch", TOKENS)
        self.batch_padding_ratio = new(
            "batch_padding_ratio", "Share of padding in a batch's attention", SHARES
        )
        self.queue_seconds = new("queue_seconds", "Entry read until its batch starts")
        self.tokenize_seconds = new("tokenize_seconds", "Decoding and tokenizing one read")
        self.forward_seconds = new(
            "forward_seconds", "Scoring one micro-batch, with waiting for a free core"
        )
        self.settle_seconds = new("settle_seconds", "One call of the settle script")

    def _daemon(self, series: Series) -> None:
        """The daemon itself and the artifact that it serves."""
        self.redis_errors = series.counter(
            "redis_errors", "Times that Redis was away or refused", "kind"
        )
        self.tasks = series.gauge("tasks", "Tasks in this daemon's event loop")
        self.ready = series.gauge("ready", "1 while Redis answers and the model is warm")
        self.artifact_info = series.gauge(
            "artifact_info", "1 for the artifact being served", "version", "backbone", "precision"
        )
        self.reloads = series.counter("reloads", "New artifacts, loaded or refused", "result")

    def _shadow(self, series: Series) -> None:
        """The challenger in the shadow."""
        new = series.counter
        self.shadow_reloads = new("shadow_reloads", "Challengers, loaded or refused", "result")
        self.shadow_info = series.gauge(
            "shadow_info", "1 for the challenger in the shadow", "version"
        )
        self.shadow_verdicts = new(
            "shadow_verdicts", "Verdicts that the challenger gave too, against them", "result"
        )
        self.shadow_shift = prometheus_client.Histogram(
            "shadow_shift",
            "The challenger's score minus the champion's",
            namespace="filterd",
            registry=self.registry,
            buckets=SHIFTS,  # some of them below zero
        )
        self.shadow_dropped = new("shadow_dropped", "Verdicts that the challenger was too slow for")

    def _begin_at_zero(self) -> None:
        """Each series is there before it first counts, so that its first increase is seen."""
        for family, values in (
            (self.verdicts, get_args(Label)),
            (self.dead_letters, get_args(Reason)),
            (self.batch_dispatch, get_args(DispatchReason)),
            (self.redis_errors, sorted(KINDS)),
            (self.reloads, get_args(ReloadResult)),
            (self.shadow_reloads, get_args(ReloadResult)),
            (self.shadow_verdicts, get_args(ShadowResult)),
        ):
            for value in values:
                family.labels(value)
