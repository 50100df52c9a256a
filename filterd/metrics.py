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


class Metrics:
    """The series, by their names without the prefix ``filterd_``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace="filterd", registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace="filterd", registry=registry)

        def histogram(name: str, text: str, bounds: tuple[float, ...] = SECONDS) -> Histogram:
            return Histogram(f"filterd_{name}", text, bounds, registry)

        self.entries_read = counter("entries_read", "New entries delivered to this daemon")
        self.claimed = counter("claimed", "Entries taken over from an idle consumer")
        self.verdicts = counter("verdicts", "Verdicts settled", "label")
        self.dead_letters = counter("dead_letters", "Dead letters settled", "reason")
        self.settle_lost = counter("settle_lost", "Outcomes that another daemon had settled")
        self.duplicate_hits = counter(
            "duplicate_hits", "Entries answered by the verdict on an equal text"
        )
        self.wait_timeouts = counter(
            "wait_timeouts", "Outcomes settled that too few replicas confirmed in time"
        )
        self.redis_errors = counter("redis_errors", "Times that Redis was away or refused", "kind")
        self.batch_dispatch = counter("batch_dispatch", "Micro-batches, by why they went", "reason")
        self.batch_entries = histogram("batch_entries", "Entries in a micro-batch", COUNTS)
        self.batch_tokens = histogram("batch_tokens", "Tokens in a micro-batch", TOKENS)
        self.batch_padding_ratio = histogram(
            "batch_padding_ratio", "Share of padding in a batch's attention", SHARES
        )
        self.queue_seconds = histogram("queue_seconds", "Entry read until its batch starts")
        self.tokenize_seconds = histogram("tokenize_seconds", "Decoding and tokenizing one read")
        self.forward_seconds = histogram("forward_seconds", "Scoring one micro-batch")
        self.settle_seconds = histogram("settle_seconds", "One call of the settle script")
        self.latency_seconds = histogram("latency_seconds", "Entry published until settled")
        self.score = histogram("score", "Scores of settled verdicts", SHARES)
        self.lag_entries = gauge("lag_entries", "Entries that the group has not been delivered")
        self.pending_entries = gauge("pending_entries", "Entries delivered and not settled")
        self.oldest_pending_seconds = gauge(
            "oldest_pending_seconds", "Age of the oldest entry that is pending"
        )
        self.oldest_undelivered_seconds = gauge(
            "oldest_undelivered_seconds", "Age of the oldest entry that was not delivered"
        )
        self.inflight_entries = gauge("inflight_entries", "Entries that this daemon works on")
        self.tasks = gauge("tasks", "Tasks in this daemon's event loop")
        self.ready = gauge("ready", "1 while Redis answers and the model is warm")
        self.artifact_info = gauge(
            "artifact_info", "1 for the artifact being served", "version", "backbone", "precision"
        )
        self.reloads = counter("reloads", "New artifacts, loaded or refused", "result")
        self.shadow_reloads = counter("shadow_reloads", "Challengers, loaded or refused", "result")
        self.shadow_info = gauge("shadow_info", "1 for the challenger in the shadow", "version")
        self.shadow_verdicts = counter(
            "shadow_verdicts", "Verdicts that the challenger gave too, against them", "result"
        )
        self.shadow_shift = prometheus_client.Histogram(
            "shadow_shift",
            "The challenger's score minus the champion's",
            namespace="filterd",
            registry=registry,
            buckets=SHIFTS,  # some of them below zero
        )
        self.shadow_dropped = counter(
            "shadow_dropped", "Verdicts that the challenger was too slow for"
        )
        self._begin_at_zero()

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
