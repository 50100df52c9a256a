"""Scoring: raw entries to work, and work to outcomes. Synchronous, so that threads can run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from filterd.classifier import Classifier
from filterd.engine import CANARY, Tokens
from filterd.entries import Answer, DeadLetter, Entry, Outcome, RawEntry, decode
from filterd.errors import ArtifactError, EntryError
from filterd.metrics import Metrics

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Work:
    """An entry and its tokens, ready to be scored."""

    entry: Entry
    tokens: Tokens


class Scorer:
    """Decodes, tokenizes and scores.

    max_bytes: of an entry's wanted fields · max_deliveries: above it an entry is poison.
    """

    def __init__(
        self, classifier: Classifier, metrics: Metrics, max_bytes: int, max_deliveries: int
    ) -> None:
        self._classifier = classifier
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._max_deliveries = max_deliveries

    def prepare_all(self, raws: Sequence[RawEntry]) -> list[Work | DeadLetter]:
        """``prepare`` for each entry of a read, in order."""
        return [self.prepare(raw) for raw in raws]

    def prepare(self, raw: RawEntry) -> Work | DeadLetter:
        """Decode and tokenize an entry, or say why it can never be scored."""
        if raw.deliveries > self._max_deliveries:
            detail = f"delivered {raw.deliveries} times and never settled"
            return DeadLetter(raw.id, "poison", detail, raw.deliveries)
        try:
            entry = decode(raw, self._max_bytes)
        except EntryError as error:
            return DeadLetter(raw.id, error.reason, error.detail, raw.deliveries)
        return Work(entry, self._classifier.engine.tokenize(entry.text))

    def answer(self, works: Sequence[Work]) -> list[Outcome]:
        """Score a batch; where that fails, in halves, until what fails alone is found."""
        try:
            scores = self._classifier.engine.score([work.tokens for work in works])
        except Exception as error:  # noqa: BLE001 - whatever a model does on one message
            if len(works) > 1:
                middle = len(works) // 2
                return self.answer(works[:middle]) + self.answer(works[middle:])
            return [self._poison(works[0].entry, error)]
        self._metrics.batch_padding_ratio.observe(scores.padding_ratio)
        return [
            Answer(replace(work.entry, text=""), self._classifier.verdict(score))  # done with it
            for work, score in zip(works, scores.values, strict=True)
        ]

    def _poison(self, entry: Entry, error: Exception) -> DeadLetter:
        """A dead letter, unless a plain message fails too: then the engine is to blame."""
        try:
            self._classifier.engine.score_texts([CANARY])
        except Exception as worse:
            raise ArtifactError(
                f"the engine fails on a plain message too ({type(worse).__name__}): "
                "entries stay pending; check the device and its memory, then start again"
            ) from worse
        log.error("an entry cannot be scored", id=entry.id, error=type(error).__name__)
        detail = f"scoring failed: {type(error).__name__}"
        return DeadLetter(entry.id, "poison", detail, entry.deliveries)
