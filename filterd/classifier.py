"""The classifier in Python: ``Classifier.load().classify(["…"])``."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Literal

from filterd import artifact
from filterd.engine import Device, Engine
from filterd.entries import Verdict
from filterd.precision import Wanted


class Classifier:
    """Labels texts with one artifact.

    threshold: the score from which a text is spam; the artifact's own where None.
    """

    def __init__(self, engine: Engine, threshold: float | None = None) -> None:
        self.engine = engine
        self.threshold = engine.manifest.threshold if threshold is None else threshold

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
        engine = Engine(
            loaded,
            device=device,
            precision=precision,
            max_batch_tokens=max_batch_tokens,
            threads=threads,
        )
        return cls(engine, threshold)

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """A verdict for each text, in order."""
        return [self.verdict(score) for score in self.engine.score_texts(texts)]

    def verdict(self, score: float) -> Verdict:
        """What a score means under this threshold."""
        return Verdict.decide(score, self.threshold, self.engine.manifest.version)
