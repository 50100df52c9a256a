"""``trainer cascade``: a fast artifact before a large one, for no loss of F1."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from filterd import artifact as artifacts
from filterd.artifact import FAST, MANIFEST, VOCABULARY, WEIGHTS, Artifact, Band
from filterd.errors import ArtifactError, DataError
from trainer import band as bands
from trainer import registry
from trainer.band import Opinions
from trainer.crossing import out_of_fold
from trainer.dataset import Message, read_file
from trainer.distillation import Sources
from trainer.distributed import ALONE, Workers
from trainer.evaluation import score, truth
from trainer.fitting import split
from trainer.make import Place
from trainer.training import Say

SEED = 123
DOCUMENTS = ("README.md", "NOTICE")


@dataclass(frozen=True, slots=True)
class Pair:
    """The two models of a cascade, as folders, and the teacher of one that was distilled."""

    fast: Path
    large: Path
    teacher: Path | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """What a band does to the messages that it was fitted on, and, by folds, to others.

    answered: share that the fast model answers alone · unseen: of folds that the band of the
    others was tried on, pooled.
    """

    rows: int
    folds: int
    fast_f1: float
    large_f1: float
    f1: float
    answered: float
    unseen_f1: float
    unseen_answered: float


def cascade(
    pair: Pair,
    sources: Sources,
    folds: int,
    place: Place,
    say: Say,
    workers: Workers = ALONE,
) -> tuple[Path, Fit]:
    """Fit a band and write the artifact; returns where it stands, and what the band does.

    Scores are out of fold: each recipe is trained anew in folds of the prepared data; or, where
    ``sources.unseen`` has files, they are of those messages, which neither model may have learned
    from. Raises ArtifactError for artifacts that cannot be joined.
    """
    if place.output is not None:
        registry.check_free(place.output)
    fast, large = artifacts.load(pair.fast), artifacts.load(pair.large)
    for part in (fast, large):
        if part.fast is not None:
            raise ArtifactError(f"{part.manifest.version} is a cascade itself: give its parts")
    if sources.unseen:
        messages, opinions = _of_unseen(fast, large, sources.unseen)
    else:
        messages, opinions = _out_of_fold(pair, large, sources, folds, place, say, workers)
    low, high = bands.fit(opinions)
    found = _tried(messages, opinions, (low, high), folds)
    joined = _joined(fast, large, Band(fast=fast.manifest.version, low=low, high=high), found)
    target = place.of(joined.manifest.version)
    registry.write(joined, _inside(fast, large), target)
    return target, found


def _of_unseen(
    fast: Artifact, large: Artifact, files: Sequence[Path]
) -> tuple[Sequence[Message], Opinions]:
    messages = [message for path in files for message in read_file(path)]
    both = (score(fast, messages), score(large, messages))
    return messages, Opinions(*both, truth(messages), large.manifest.threshold)


def _out_of_fold(
    pair: Pair,
    large: Artifact,
    sources: Sources,
    folds: int,
    place: Place,
    say: Say,
    workers: Workers,
) -> tuple[Sequence[Message], Opinions]:
    found = []
    for path in (pair.fast, pair.large):
        distilled = "teacher" in artifacts.load(path).manifest.data
        own = sources if distilled else Sources(sources.data, sources.extra, ())
        teacher = pair.teacher if distilled else None
        found.append(out_of_fold(path, own, folds, place.work, say, teacher, workers))
    one, other = found
    if [m.text for m in one.messages] != [m.text for m in other.messages]:
        raise DataError(f"{sources.data} gives the two recipes different messages")
    opinions = Opinions(one.scores, other.scores, truth(one.messages), large.manifest.threshold)
    return one.messages, opinions


def _tried(
    messages: Sequence[Message], opinions: Opinions, band: tuple[float, float], folds: int
) -> Fit:
    """The band's measures, and those of bands fitted without the messages they are tried on."""
    scores, answered = np.empty(len(messages)), np.empty(len(messages), bool)
    for inside, outside in split(messages, folds, SEED):
        left_out = opinions.pick(outside)
        own = bands.fit(opinions.pick(inside))
        scores[outside], answered[outside] = left_out.scores(*own), left_out.answered(*own)

    def f1(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return round(bands.f1(values, opinions.spam, opinions.threshold), 6)

    return Fit(
        rows=len(messages),
        folds=folds,
        fast_f1=f1(opinions.fast),
        large_f1=f1(opinions.large),
        f1=f1(opinions.scores(*band)),
        answered=round(float(opinions.answered(*band).mean()), 6),
        unseen_f1=f1(scores),
        unseen_answered=round(float(answered.mean()), 6),
    )


def _joined(fast: Artifact, large: Artifact, band: Band, found: Fit) -> Artifact:
    known = f"{fast.manifest.version} {large.manifest.version} {band.low!r} {band.high!r}"
    stated = band.model_copy(update={"measures": {k: float(v) for k, v in asdict(found).items()}})
    return registry.changed(
        large,
        version=f"cascade-{hashlib.sha256(known.encode()).hexdigest()[:12]}",
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        backbone=f"cascade of {fast.manifest.backbone} and {large.manifest.backbone}",
        cascade=stated,
        metrics={},
    )


def _inside(fast: Artifact, large: Artifact) -> dict[str, bytes]:
    """The fast artifact as it stands, in a folder, and both cards."""
    names = (MANIFEST, WEIGHTS, VOCABULARY, *DOCUMENTS)
    files = {f"{FAST}/{name}": fast.path / name for name in names}
    files |= {name: large.path / name for name in DOCUMENTS}
    return {name: path.read_bytes() for name, path in files.items() if path.is_file()}
