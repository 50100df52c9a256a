"""A cascade: the fast stage answers what it is sure of, the large one the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from filterd import artifact
from filterd.artifact import FAST, MANIFEST, VOCABULARY, WEIGHTS
from filterd.classifier import Classifier
from filterd.engine import Engine
from filterd.entries import Answer, RawEntry, encode
from filterd.errors import ArtifactError
from filterd.metrics import Metrics
from filterd.scoring import Scorer, Work
from tests.artifacts import tiny_artifact, tiny_cascade
from tests.commands import filterd

TEXTS = [f"message number {number} {'win ' * (number % 5)}" for number in range(40)]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A fast and a large artifact whose scores have nothing in common."""
    folder = tmp_path_factory.mktemp("parts")
    fast = tiny_artifact(folder / "fast", version="tiny-fast", seed=1)
    return fast, tiny_artifact(folder / "large", version="tiny-large", seed=2)


@pytest.fixture(scope="module")
def scores(parts: tuple[Path, Path]) -> tuple[list[float], list[float]]:
    """What each says of the texts."""
    fast, large = (Engine(artifact.load(path)).score_texts(TEXTS) for path in parts)
    return fast, large


@pytest.fixture(scope="module")
def cascade(parts: tuple[Path, Path], scores: tuple[list[float], list[float]]) -> Path:
    """A cascade whose fast stage is sure of about half of the texts."""
    ranked = sorted(scores[0])
    return tiny_cascade(parts[0].parent / "both", *parts, (ranked[10], ranked[30]))


def test_each_text_is_answered_by_the_stage_that_the_band_names(
    cascade: Path, scores: tuple[list[float], list[float]]
) -> None:
    classifier = Classifier.load(cascade, threshold=sorted(scores[0])[20])
    band = classifier.engine.manifest.cascade
    assert band is not None
    for verdict, fast, large in zip(classifier.classify(TEXTS), *scores, strict=True):
        sure = fast < band.low or fast >= band.high
        assert verdict.stage == ("fast" if sure else "large")
        assert abs(verdict.score - (fast if sure else large)) < 1e-4
        assert verdict.label == ("spam" if verdict.score >= verdict.threshold else "ham")
        assert verdict.model == "cascade-1"


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_the_band_is_stretched_to_hold_another_threshold(cascade: Path, threshold: float) -> None:
    classifier = Classifier.load(cascade, threshold=threshold)
    band = classifier.engine.manifest.cascade
    assert band is not None
    fast = [verdict for verdict in classifier.classify(TEXTS) if verdict.stage == "fast"]
    assert fast
    for verdict in fast:
        assert verdict.label == ("spam" if verdict.score >= threshold else "ham")
        assert verdict.score < band.low if threshold else verdict.score >= band.high


def test_scoring_by_lanes_gives_the_same_verdicts_and_equal_texts_go_once(cascade: Path) -> None:
    classifier = Classifier.load(cascade)
    scorer = Scorer(classifier, Metrics(CollectorRegistry()), 1000, 5, duplicates=1000)
    raws = [RawEntry(f"{n}-0", ((b"text", text.encode()),), 9) for n, text in enumerate(TEXTS * 2)]
    works = [item for item in scorer.prepare_all(raws) if isinstance(item, Work)]
    first = scorer.answer(works)
    onward = [item for item in first if isinstance(item, Work)]
    last = scorer.answer(onward)
    assert {work.stage for work in onward} == {1}
    answers = [item for item in [*first, *last] if isinstance(item, Answer)]
    found = {answer.entry_id: answer.verdict for answer in answers}
    for number, verdict in enumerate(classifier.classify(TEXTS * 2)):
        assert found[f"{number}-0"].stage == verdict.stage
        assert abs(found[f"{number}-0"].score - verdict.score) < 1e-4
    remembered = scorer.prepare_all(raws)
    assert [item.verdict for item in remembered if isinstance(item, Answer)] == [
        found[raw.id] for raw in raws
    ]


def test_the_stage_is_a_field_of_the_verdict_and_of_what_classify_prints(cascade: Path) -> None:
    (verdict,) = Classifier.load(cascade).classify(["hello"])
    entry = RawEntry("1-0", ((b"text", b"hello"),), 9)
    classifier = Classifier.load(cascade)
    scorer = Scorer(classifier, Metrics(CollectorRegistry()), 1000, 5)
    (work,) = scorer.prepare_all([entry])
    assert isinstance(work, Work)
    parts = encode(Answer(work.entry, verdict))
    assert dict(zip(parts[::2], parts[1::2], strict=True))[b"stage"] == verdict.stage.encode()
    printed = filterd("classify", "--artifact", str(cascade), "--json", "hello")
    assert json.loads(printed.out)["stage"] == verdict.stage


def test_a_plain_artifact_says_nothing_of_stages(tiny: Path) -> None:
    (verdict,) = Classifier.load(tiny).classify(["hello"])
    assert verdict.stage == ""
    assert "stage" not in json.loads(
        filterd("classify", "--artifact", str(tiny), "--json", "x").out
    )


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS, VOCABULARY])
def test_a_damaged_fast_stage_is_refused(
    parts: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    path = tiny_cascade(tmp_path / "both", *parts, (0.1, 0.9))
    damaged = path / FAST / name
    damaged.write_bytes(damaged.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match=name):
        artifact.load(path)


def test_a_fast_stage_of_another_version_is_refused(
    parts: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tiny_cascade(tmp_path / "both", *parts, (0.1, 0.9))
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["cascade"]["fast"] = "another"
    (path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="another"):
        artifact.load(path)
