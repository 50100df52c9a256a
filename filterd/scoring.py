"""Scoring: raw entries to work, and work to outcomes. Synchronous, for any thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import structlog

from filterd.classifier import Classifier
from filterd.duplicates import Duplicates, InProgress, text_key
from filterd.engine import CANARY, Engine, Tokens
from filterd.entries import (
    DEFAULT_NAMES,
    Answer,
    DeadLetter,
    Entry,
    FieldNames,
    Outcome,
    RawEntry,
    Verdict,
    decode,
)
from filterd.errors import ArtifactError, EntryError
from filterd.metrics import Metrics

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Work:
    """An entry and its tokens, ready to be scored by the classifier that made them.

    key: equal for entries that one score serves · stage: of the classifier, that is to score it.
    """

    entry: Entry
    key: bytes
    tokens: Tokens
    classifier: Classifier
    stage: int = 0

    @property
    def is_quick(self) -> bool:
        """Whether the event loop can score it, and nobody notices."""
        return self.classifier.stages[self.stage].engine.is_quick(self.tokens)


class Scorer:
    """Decodes, tokenizes and scores.

    max_bytes: of an entry's wanted fields · max_deliveries: above it an entry is poison
    duplicates: texts whose verdicts are remembered, 0 for none · names: of entries' fields.
    """

    def __init__(
        self,
        classifier: Classifier,
        metrics: Metrics,
        max_bytes: int,
        max_deliveries: int,
        duplicates: int = 0,
        names: FieldNames = DEFAULT_NAMES,
    ) -> None:
        self.classifier = classifier
        self._names = names
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._max_deliveries = max_deliveries
        self._duplicates = Duplicates(duplicates)
        self._scoring: InProgress[tuple[int, bytes], Verdict | None] = InProgress()

    def prepare_all(self, raws: Sequence[RawEntry]) -> list[Work | Outcome]:
        """``prepare`` for each entry of a read, in order; equal texts are tokenized once."""
        seen: dict[bytes, Tokens] = {}
        return [self.prepare(raw, seen) for raw in raws]

    def prepare(self, raw: RawEntry, seen: dict[bytes, Tokens]) -> Work | Outcome:
        """Decode and tokenize an entry, or end it here.

        That is where it can never be scored, or its text is remembered. seen: tokens of texts of
        the same read, by their keys.
        """
        if raw.deliveries > self._max_deliveries:
            detail = f"delivered {raw.deliveries} times and never settled"
            return DeadLetter(raw.id, "poison", detail, raw.deliveries, raw.stream)
        try:
            entry = decode(raw, self._max_bytes, self._names)
        except EntryError as error:
            return DeadLetter(raw.id, error.reason, error.detail, raw.deliveries, raw.stream)
        classifier = self.classifier
        if not self._duplicates:
            tokens = classifier.stages[0].engine.tokenize(entry.text)
            return Work(entry, f"{entry.stream} {entry.id}".encode(), tokens, classifier)
        key = text_key(entry.text, classifier.engine.manifest.version)
        known = self._duplicates.recall(key)
        if known is not None:
            self._metrics.duplicate_hits.inc()
            return Answer(entry, known)
        if key not in seen:
            seen[key] = classifier.stages[0].engine.tokenize(entry.text)
        return Work(entry, key, seen[key], classifier)

    def swap(self, classifier: Classifier) -> None:
        """From now on prepare for another one; what is prepared is scored by the one before."""
        self.classifier = classifier

    def engine(self, stage: int) -> Engine:
        """Of a stage; a classifier may have fewer than that, and then its last."""
        stages = self.classifier.stages
        return stages[min(stage, len(stages) - 1)].engine

    def answer(self, works: Sequence[Work]) -> list[Outcome | Work]:
        """Score works of one stage; what the stage is not sure of is work again.

        Equal texts are scored once, also where another thread is at it. Works of several
        classifiers, around a reload, are scored by theirs. Where scoring fails, it is done in
        halves, until what fails alone is found.
        """
        answers: list[Outcome | Work] = []
        for _, same in groupby(works, key=lambda work: work.classifier):
            answers += self._answer(list(same))
        return answers

    def _answer(self, works: Sequence[Work]) -> list[Outcome | Work]:
        number = works[0].stage
        verdicts = self._remembered(works)
        unknown = {(number, work.key): work for work in works if work.key not in verdicts}
        try:
            found, own = self._scoring.share(
                unknown, lambda keys: self._score([unknown[key] for key in keys])
            )
        except Exception as error:  # noqa: BLE001 - whatever a model does on one message
            if len(works) > 1:
                middle = len(works) // 2
                return self._answer(works[:middle]) + self._answer(works[middle:])
            return [self._poison(works[0], error)]
        verdicts |= {key: verdict for (_, key), verdict in found.items() if verdict is not None}
        unsure = {key for (_, key), verdict in found.items() if verdict is None}
        failed = [work for work in works if work.key not in verdicts and work.key not in unsure]
        self._metrics.duplicate_hits.inc(len(works) - len(failed) - len(own))
        anew = iter(self._answer(failed) if failed else ())
        answers: list[Outcome | Work] = []
        for work in works:
            if work.key in verdicts:
                answers.append(Answer(work.entry, verdicts[work.key]))
            else:
                answers.append(_onward(work) if work.key in unsure else next(anew))
        return answers

    def _score(self, works: Sequence[Work]) -> dict[tuple[int, bytes], Verdict | None]:
        """Verdicts of a stage, by stage and key; None for what it is not sure of."""
        classifier, number = works[0].classifier, works[0].stage
        scores = classifier.stages[number].engine.score([work.tokens for work in works])
        self._metrics.batch_padding_ratio.observe(scores.padding_ratio)
        found: dict[tuple[int, bytes], Verdict | None] = {}
        for work, score in zip(works, scores.values, strict=True):
            found[number, work.key] = None
            if classifier.settles(number, score):
                found[number, work.key] = verdict = classifier.verdict(score, number)
                self._duplicates.remember(work.key, verdict)
        return found

    def _remembered(self, works: Sequence[Work]) -> dict[bytes, Verdict]:
        """What was scored between the reading of these works and now."""
        found = ((work.key, self._duplicates.recall(work.key)) for work in works)
        return {key: verdict for key, verdict in found if verdict is not None}

    def _poison(self, work: Work, error: Exception) -> DeadLetter:
        """A dead letter, unless a plain message fails too: then the engine is to blame."""
        try:
            work.classifier.stages[work.stage].engine.score_texts([CANARY])
        except Exception as worse:
            raise ArtifactError(
                f"the engine fails on a plain message too ({type(worse).__name__}): "
                "entries stay pending; check the device and its memory, then start again"
            ) from worse
        entry = work.entry
        log.error("an entry cannot be scored", id=entry.id, error=type(error).__name__)
        detail = f"scoring failed: {type(error).__name__}"
        return DeadLetter(entry.id, "poison", detail, entry.deliveries, entry.stream)


def _onward(work: Work) -> Work:
    """The same for the next stage, which has a vocabulary of its own."""
    stage = work.stage + 1
    tokens = work.classifier.stages[stage].engine.tokenize(work.entry.text)
    return replace(work, tokens=tokens, stage=stage)
