"""The classifier in Python: ``Classifier.load().classify(["…"])``."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

from filterd import artifact
from filterd.artifact import Artifact
from filterd.cascade import stages
from filterd.engine import Device, Engine
from filterd.entries import Verdict
from filterd.precision import Wanted


class Classifier:
    """Labels texts with one artifact.

    threshold: the score from which a text is spam; the artifact's own where None · fast: the first
    stage's engine where the artifact is a cascade; ``engine`` is the last one's.
    """

    def __init__(
        self, engine: Engine, threshold: float | None = None, fast: Engine | None = None
    ) -> None:
        self.engine = engine
        self.threshold = engine.manifest.threshold if threshold is None else threshold
        self.stages = stages(fast, engine, self.threshold)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str] | None = None,
        *,
        device: Device = "auto",
        precision: Wanted = "auto",
        threshold: float | None = None,
        max_batch_tokens: int | Literal["auto"] = "auto",
        threads: int = 0,
    ) -> Classifier:
        """Load an artifact directory, or the starter where there is no path.

        Raises ArtifactError for what cannot be served, SettingsError for an absent device.
        """
        loaded = artifact.load(None if path is None else Path(path))
        return cls.of(
            loaded,
            device=device,
            precision=precision,
            threshold=threshold,
            max_batch_tokens=max_batch_tokens,
            threads=threads,
        )

    @classmethod
    def of(
        cls,
        loaded: Artifact,
        *,
        device: Device = "auto",
        precision: Wanted = "auto",
        threshold: float | None = None,
        max_batch_tokens: int | Literal["auto"] = "auto",
        threads: int = 0,
    ) -> Classifier:
        """The same of an artifact in memory, with all its stages."""

        def engine(part: Artifact) -> Engine:
            return Engine(
                part,
                device=device,
                precision=precision,
                max_batch_tokens=max_batch_tokens,
                threads=threads,
            )

        fast = None if loaded.fast is None else engine(loaded.fast)
        return cls(engine(loaded), threshold, fast)

    def warm_up(self) -> None:
        """Warm the engines of all stages up."""
        for stage in self.stages:
            stage.engine.warm_up()

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """A verdict for each text, in order."""
        found: dict[int, Verdict] = {}
        for number, stage in enumerate(self.stages):
            left = [index for index in range(len(texts)) if index not in found]
            scores = stage.engine.score_texts([texts[index] for index in left])
            for index, score in zip(left, scores, strict=True):
                if self.settles(number, score):
                    found[index] = self.verdict(score, number)
        return [found[index] for index in range(len(texts))]

    def settles(self, stage: int, score: float) -> bool:
        """Whether a stage's score is the last word on a message."""
        return stage == len(self.stages) - 1 or self.stages[stage].answers(score)

    def verdict(self, score: float, stage: int = -1) -> Verdict:
        """What a stage's score means under this threshold; the last one's where none is named."""
        version, name = self.engine.manifest.version, self.stages[stage].name
        return Verdict.decide(score, self.threshold, version, name)
