"""Drift: how far messages and scores have moved since the last run, without keeping a text."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from trainer.calibration import Floats

WORDS, SCORES, LENGTHS = 1024, 20, 16
_WORD = re.compile(r"\w+")

Sketch = Mapping[str, list[int]]
"""Counts by what was counted: hashed words, scores, lengths."""


def sketch(texts: Sequence[str], scores: Sequence[float]) -> Sketch:
    """What is kept of messages to compare the next ones with. scores: between 0 and 1."""
    words = np.zeros(WORDS, int)
    for text in texts:
        for word in set(_WORD.findall(text.casefold())):
            words[zlib.crc32(word.encode()) % WORDS] += 1
    lengths = np.array([min(len(text).bit_length(), LENGTHS - 1) for text in texts], int)
    places = np.minimum((np.array(scores, float) * SCORES).astype(int), SCORES - 1)
    return {
        "words": words.tolist(),
        "lengths": np.bincount(lengths, minlength=LENGTHS).tolist(),
        "scores": np.bincount(places, minlength=SCORES).tolist(),
    }


def divergences(before: Sketch, now: Sketch) -> dict[str, float]:
    """The distance of each count, 0 for the same up to 1 for nothing in common.

    Jensen and Shannon's, in bits: symmetric, and finite whatever is missing on one side. What was
    not counted on either side is left out.
    """
    found = {}
    for name in sorted(before.keys() & now.keys()):
        old, new = (np.array(side[name], float) for side in (before, now))
        if len(old) == len(new) and old.sum() and new.sum():
            found[name] = round(_divergence(old / old.sum(), new / new.sum()), 6)
    return found


def _divergence(old: Floats, new: Floats) -> float:
    middle = (old + new) / 2
    return float((_information(old, middle) + _information(new, middle)) / 2)


def _information(part: Floats, whole: Floats) -> float:
    held = part > 0
    return float((part[held] * np.log2(part[held] / whole[held])).sum())
