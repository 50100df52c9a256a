"""Shadow: the challenger scores a share of live traffic beside the champion, and delays nobody.

It is told what has been settled already, keeps a bounded queue that drops what does not fit, and
scores in one thread of the lowest priority.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from filterd.classifier import Classifier
from filterd.entries import Answer, Verdict
from filterd.errors import UnavailableError
from filterd.metrics import Metrics
from filterd.streams.settling import Settled

log = structlog.get_logger()

MOST_WAITING = 1000
MOST_CHARACTERS = 1_000_000
AT_ONCE = 8
"""Messages of one forward pass: short enough that the champion's next one need not wait long."""
REPORT_S = 1.0
LOWEST_PRIORITY = 19


@dataclass(frozen=True, slots=True)
class Comparison:
    """Champion's and challenger's verdict on one message."""

    answer: Answer
    challenger: Verdict

    @property
    def result(self) -> str:
        """``same``, or the label that the challenger would change it to."""
        same = self.challenger.label == self.answer.verdict.label
        return "same" if same else f"to_{self.challenger.label}"


class Evidence(Protocol):
    """Where comparisons are kept."""

    async def keep(self, comparisons: Sequence[Comparison], counts: Counter[str]) -> None:
        """Write disagreements, and add counts by ``CHAMPION CHALLENGER RESULT``."""


class Shadow:
    """Compares. share: of the entries, chosen by their ids, so that all daemons choose alike."""

    def __init__(self, share: float, metrics: Metrics, evidence: Evidence) -> None:
        self._share, self._metrics, self._evidence = share, metrics, evidence
        self._challenger: Classifier | None = None
        self._waiting: deque[Answer] = deque()
        self._characters = 0
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "shadow", initializer=_be_last)
        self._counts: Counter[str] = Counter()
        self._disagreements: deque[Comparison] = deque(maxlen=MOST_WAITING)

    def swap(self, challenger: Classifier | None) -> None:
        """Compare with another one, or with none."""
        self._challenger = challenger
        self._metrics.shadow_info.clear()
        if challenger is None:
            self._waiting.clear()
            self._characters = 0
        else:
            self._metrics.shadow_info.labels(challenger.engine.manifest.version).set(1)

    def watch(self, done: Settled) -> None:
        """Take what was settled; what does not fit into the queue is dropped and counted."""
        if self._challenger is None:
            return
        for outcome in done.settled:
            if isinstance(outcome, Answer) and chosen(outcome.entry_id, self._share):
                self._put(outcome)

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        reporting = asyncio.create_task(self._report())
        try:
            while True:
                self._changed.clear()
                if not self._waiting:
                    await self._changed.wait()
                challenger, batch = self._challenger, self._take()
                if challenger is None or not batch:
                    continue
                texts = [answer.entry.text for answer in batch]
                try:
                    said = await loop.run_in_executor(self._thread, challenger.classify, texts)
                except Exception as error:  # noqa: BLE001 - the challenger is on trial
                    log.error("the challenger fails", error=type(error).__name__)
                    self._metrics.shadow_dropped.inc(len(batch))
                    continue
                self._compare(batch, said)
        finally:
            reporting.cancel()
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _put(self, answer: Answer) -> None:
        size = len(answer.entry.text)
        full = len(self._waiting) >= MOST_WAITING or self._characters + size > MOST_CHARACTERS
        if full:
            self._metrics.shadow_dropped.inc()
            return
        self._waiting.append(answer)
        self._characters += size
        self._changed.set()

    def _take(self) -> list[Answer]:
        batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        self._characters -= sum(len(answer.entry.text) for answer in batch)
        return batch

    def _compare(self, batch: Sequence[Answer], said: Sequence[Verdict]) -> None:
        for answer, verdict in zip(batch, said, strict=True):
            comparison = Comparison(answer, verdict)
            result = comparison.result
            self._metrics.shadow_verdicts.labels(result).inc()
            self._metrics.shadow_shift.observe(verdict.score - answer.verdict.score)
            self._counts[f"{answer.verdict.model} {verdict.model} {result}"] += 1
            if result != "same":
                self._disagreements.append(comparison)

    async def _report(self) -> None:
        """Hand on what was found, once a second; again what Redis did not take."""
        while True:
            await asyncio.sleep(REPORT_S)
            if not self._counts:
                continue
            counts, self._counts = self._counts, Counter()
            found = list(self._disagreements)
            self._disagreements.clear()
            try:
                await self._evidence.keep(found, counts)
            except UnavailableError:  # the pipeline reports it
                self._counts.update(counts)
                self._disagreements.extendleft(reversed(found))


def chosen(entry_id: str, share: float) -> bool:
    """Whether an entry is among a share of all."""
    digest = hashlib.blake2b(entry_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def _be_last(nice: int = LOWEST_PRIORITY) -> None:
    """Let every other thread go first, where the system can tell threads apart (Linux)."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
