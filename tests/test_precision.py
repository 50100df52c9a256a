"""Precision: coarser ones score nearly the same, and what warm-up chooses between is fit to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings

from filterd import artifact, precision, tuning
from filterd.artifact import Agreement, Artifact
from filterd.classifier import Classifier
from filterd.demo import sample
from filterd.engine import Engine
from filterd.errors import SettingsError
from filterd.linear import Int8Linear
from filterd.precision import Wanted
from tests.engines import engine_of, one_thread, some_texts


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def loaded(tiny: Path) -> Artifact:
    return artifact.load(tiny)


@pytest.fixture(scope="module")
def starter() -> Classifier:
    return Classifier.load(device="cpu")


@pytest.fixture(scope="module")
def coarse() -> Engine:
    """The starter in int8, as if its manifest allowed it."""
    near = Agreement(max_difference=0.0, labels_equal=1.0, messages=1000)
    return engine_of(artifact.load(), int8=near, precision="int8")


def test_half_precision_is_near(starter: Classifier) -> None:
    half = Classifier.load(device="cpu", precision="bf16")
    assert half.engine.precision == "bf16"
    texts = [text for _, text in sample()]
    plain, near = starter.engine.score_texts(texts), half.engine.score_texts(texts)
    assert plain != near
    assert near == pytest.approx(plain, abs=0.03)


def test_precision_follows_the_device(loaded: Artifact) -> None:
    assert Engine(loaded, device="cpu").precision == "fp32"
    automatic = Engine(loaded)
    assert automatic.precision == ("bf16" if automatic.device.type == "cuda" else "fp32")


@settings(deadline=None, max_examples=15)
@given(some_texts)
def test_int8_scores_are_the_same_beside_an_outlier(coarse: Engine, texts: list[str]) -> None:
    outlier = "\U0001f911" * 60 + "$$$ " * 90
    beside = coarse.score_texts([outlier, *texts, outlier])[1:-1]
    alone = [coarse.score_texts([text])[0] for text in texts]
    assert beside == pytest.approx(alone, abs=5e-3)  # a rounding to the next byte, here and there


def test_int8_is_near(starter: Classifier, coarse: Engine) -> None:
    texts = [text for _, text in sample()]
    plain, near = starter.engine.score_texts(texts), coarse.score_texts(texts)
    assert coarse.precision == "int8"
    assert plain != near
    assert near == pytest.approx(plain, abs=0.05)
    threshold = starter.engine.manifest.threshold
    changed = sum((a >= threshold) != (b >= threshold) for a, b in zip(plain, near, strict=True))
    assert changed <= 1


def test_artifact_that_int8_changes_refuses_it(loaded: Artifact) -> None:
    far = Agreement(max_difference=0.31, labels_equal=0.97, messages=1000)
    with pytest.raises(SettingsError, match=r"tiny-1 may not run so: .* 0\.310 and 97\.00%"):
        engine_of(loaded, int8=far, precision="int8")
    assert "int8" not in engine_of(loaded, int8=far).choices


def test_auto_takes_what_is_fastest(loaded: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    near = Agreement(max_difference=0.004, labels_equal=1.0, messages=1000)
    monkeypatch.setattr(precision, "_has_bf16", lambda: False)  # some CPUs offer it, too
    for fastest in ("fp32", "int8"):
        engine = engine_of(loaded, int8=near)

        def timed(
            works: Mapping[str, Callable[[], object]], engine: Engine = engine, best: str = fastest
        ) -> list[tuple[str, float]]:
            for choice, work in works.items():
                work()
                assert (type(engine._model.h[0].mlp.c_fc) is Int8Linear) == (choice == "int8")
                assert engine._model.h[0].table is not None
            return [(choice, 1.0 if choice == best else 2.0) for choice in works]

        monkeypatch.setattr(tuning, "in_turn", timed)
        engine.warm_up()
        assert engine.precision == fastest
        engine.warm_up()
        assert engine.precision == fastest
        assert 0 <= engine.score_texts(["as it was"])[0] <= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.03)])
def test_cuda_scores_are_near(starter: Classifier, precision: Wanted, tolerance: float) -> None:
    other = Classifier.load(device="cuda", precision=precision)
    texts = [text for _, text in sample()]
    expected = starter.engine.score_texts(texts)
    assert other.engine.score_texts(texts) == pytest.approx(expected, abs=tolerance)
