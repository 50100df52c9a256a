"""Coarser precisions: how near an artifact's scores in int8 come to those in fp32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filterd.artifact import Agreement, Artifact
from filterd.engine import Engine
from filterd.errors import SettingsError
from trainer.calibration import Floats

CHUNK = 512


def int8(artifact: Artifact, texts: Sequence[str], scores: Floats) -> Agreement | None:
    """Scores in int8 against those in fp32, (N,); None where this machine has no int8."""
    try:
        engine = Engine(artifact, device="cpu", precision="int8")
    except SettingsError:
        return None
    chunks = (texts[first : first + CHUNK] for first in range(0, len(texts), CHUNK))
    coarse = np.array([score for chunk in chunks for score in engine.score_texts(chunk)])
    threshold = artifact.manifest.threshold
    return Agreement(
        max_difference=round(float(np.abs(coarse - scores).max()), 6),
        labels_equal=round(float(((coarse >= threshold) == (scores >= threshold)).mean()), 6),
        messages=len(texts),
    )
