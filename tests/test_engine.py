"""The engine: scores that depend on nothing but the text; and the classifier on top of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd import artifact, tuning
from filterd.artifact import MOST_DIFFERENCE, Agreement, Artifact
from filterd.classifier import Classifier
from filterd.demo import sample
from filterd.engine import Engine, Tokens, cut
from filterd.errors import SettingsError
from filterd.linear import Int8Linear
from filterd.model import SpamModel
from filterd.precision import Wanted

WINNER = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."
ROOM = 31
"""Tokens of text in one window of the tiny artifact."""

some_texts = st.lists(st.text(max_size=100), min_size=1, max_size=8)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small matrices are slower on several threads, and much slower on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def loaded(tiny: Path) -> Artifact:
    return artifact.load(tiny)


def engine_of(
    loaded: Artifact,
    *,
    max_batch_tokens: int = 4096,
    precision: Wanted = "auto",
    **manifest: object,
) -> Engine:
    """An engine of an artifact whose manifest says something else."""
    changed = replace(loaded, manifest=loaded.manifest.model_copy(update=manifest))
    return Engine(
        changed, device="cpu", precision=precision, max_batch_tokens=max_batch_tokens, threads=1
    )


@pytest.fixture(scope="module")
def engine(loaded: Artifact) -> Engine:
    return engine_of(loaded)


@pytest.fixture(scope="module")
def starter() -> Classifier:
    return Classifier.load(device="cpu")


@pytest.fixture(scope="module")
def coarse() -> Classifier:
    return Classifier.load(device="cpu", precision="int8")


def dense(model: SpamModel, ids: list[int]) -> Tensor:
    """Logits (2,) at the last position, by the plain way: every token of one row in every step."""
    hidden = model.wte.weight[ids] + model.wpe.weight[: len(ids)]  # (T, C)
    heads = model.config.n_head
    past = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    for block in model.h:
        qkv = block.attn.c_attn(block.ln_1(hidden))  # (T, 3C)
        query, key, value = (
            part.view(len(ids), heads, -1).transpose(0, 1) for part in qkv.chunk(3, -1)
        )  # (H, T, D)
        attention = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
        weights = attention.masked_fill(~past, float("-inf")).softmax(-1)
        mixed = (weights @ value).transpose(0, 1).reshape(hidden.shape)
        hidden = hidden + block.attn.c_proj(mixed)
        inner = block.mlp.c_fc(block.ln_2(hidden))
        hidden = hidden + block.mlp.c_proj(F.gelu(inner, approximate="tanh"))
    return model.head(model.ln_f(hidden[-1]))


@settings(deadline=None, max_examples=20)
@given(some_texts)
def test_text_scores_the_same_alone_and_in_any_batch(engine: Engine, texts: list[str]) -> None:
    together = engine.score_texts(texts)
    alone = [engine.score_texts([text])[0] for text in texts]
    assert together == pytest.approx(alone, abs=1e-4)


@settings(deadline=None, max_examples=15)
@given(some_texts, st.integers(1, 100))
def test_batches_above_the_budget_are_cut(loaded: Artifact, texts: list[str], budget: int) -> None:
    small = engine_of(loaded, max_batch_tokens=budget)
    assert small.score_texts(texts) == pytest.approx(engine_of(loaded).score_texts(texts), abs=1e-4)


def test_work_at_once_is_about_the_budget(
    loaded: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(loaded, max_batch_tokens=50)
    sizes: list[int] = []
    forward = SpamModel.forward
    monkeypatch.setattr(
        SpamModel,
        "forward",
        lambda model, batch: sizes.append(len(batch.tokens)) or forward(model, batch),
    )
    texts = ["a" * length for length in (3, 30, 9, 9, 9, 9, 100, 1)]
    engine.score_texts(texts)
    assert max(sizes) <= 50 + 32 / 2
    assert sum(sizes) == sum(engine.tokenize(text).count for text in texts)


@given(st.lists(st.integers(1, 64), max_size=60).map(sorted), st.integers(1, 9))
def test_parts_are_of_about_equal_work(lengths: list[int], count: int) -> None:
    spans = [[0] * length for length in lengths]
    parts = cut(spans, count)
    assert [span for part in parts for span in part] == spans
    assert len(parts) <= count
    assert all(parts)
    share = sum(lengths) / count
    assert all(sum(map(len, part)) <= share + max(lengths) for part in parts)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_scores(loaded: Artifact, threads: int) -> None:
    texts = [text for _, text in sample()][:300]
    parted = Engine(loaded, device="cpu", max_batch_tokens=2048, threads=threads)
    parted._operations_a_token = 10**9  # as if it were large: all cores are worth it
    expected = engine_of(loaded).score_texts(texts)
    assert parted.threads == threads
    assert parted.score_texts(texts) == pytest.approx(expected, abs=1e-4)


def test_long_text_takes_the_most_spam_like_of_its_windows(engine: Engine) -> None:
    text = "".join(chr(33 + 7 * index % 90) for index in range(200))
    tokens = engine.tokenize(text)
    assert len(tokens.windows) > 3
    starts = [*range(0, 200 - ROOM, ROOM // 2), 200 - ROOM]
    singles = engine.score_texts([text[start : start + ROOM] for start in starts])
    assert len(set(singles)) > 3
    assert engine.score_texts([text]) == pytest.approx([max(singles)], abs=1e-5)


def test_windows_of_each_message_stay_its_own(engine: Engine) -> None:
    texts = ["x" * 100, "", "y" * 70, "z"]
    alone = [engine.score_texts([text])[0] for text in texts]
    assert engine.score_texts(texts) == pytest.approx(alone, abs=1e-4)


def test_nothing_to_score(engine: Engine) -> None:
    assert engine.score_texts([]) == []


def test_empty_text_is_scored(engine: Engine) -> None:
    tokens = engine.tokenize("")
    assert tokens == Tokens(([256],))
    assert tokens.count == 1
    assert 0 < engine.score([tokens]).values[0] < 1


def test_padding_is_reported(engine: Engine) -> None:
    def padding(*lengths: int) -> float:
        return engine.score([engine.tokenize("a" * length) for length in lengths]).padding_ratio

    assert padding(9, 9, 9) == 0
    assert padding(9, 8) == pytest.approx(1 / 20)


def test_score_is_the_softmax_of_the_last_token(loaded: Artifact, engine: Engine) -> None:
    ids = [*b"Call me", 256]
    expected = dense(loaded.build_model(), ids).softmax(-1)[1].item()
    assert engine.score_texts(["Call me"]) == pytest.approx([expected], abs=1e-5)


@pytest.mark.parametrize("text", ["", "short", "x" * 32, "longer than the model's positions" * 3])
def test_padded_last_equals_a_dense_forward_of_the_full_length(loaded: Artifact, text: str) -> None:
    ids = [*text.encode()[:32]]
    ids += [256] * (32 - len(ids))
    expected = dense(loaded.build_model(), ids).softmax(-1)[1].item()
    engine = engine_of(loaded, pooling="padded-last")
    assert engine.score_texts([text, "other"])[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_divides_the_logits(
    loaded: Artifact, engine: Engine, temperature: float
) -> None:
    plain = torch.tensor(engine.score_texts(["one", "two"])).logit()
    cooled = engine_of(loaded, temperature=temperature).score_texts(["one", "two"])
    assert cooled == pytest.approx((plain / temperature).sigmoid().tolist(), abs=1e-5)


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
def test_int8_scores_are_the_same_beside_an_outlier(coarse: Classifier, texts: list[str]) -> None:
    outlier = "\U0001f911" * 60 + "$$$ " * 90
    beside = coarse.engine.score_texts([outlier, *texts, outlier])[1:-1]
    alone = [coarse.engine.score_texts([text])[0] for text in texts]
    assert beside == pytest.approx(alone, abs=1e-3)  # a rounding to the next byte, here and there


def test_int8_is_near(starter: Classifier, coarse: Classifier) -> None:
    texts = [text for _, text in sample()]
    plain, near = starter.classify(texts), coarse.classify(texts)
    assert coarse.engine.precision == "int8"
    assert [one.score for one in plain] != [one.score for one in near]
    differences = [abs(one.score - other.score) for one, other in zip(plain, near, strict=True)]
    assert max(differences) <= MOST_DIFFERENCE
    changed = sum(one.label != other.label for one, other in zip(plain, near, strict=True))
    assert changed <= 1


def test_artifact_that_int8_changes_refuses_it(loaded: Artifact) -> None:
    far = Agreement(max_difference=0.31, labels_equal=0.97, messages=1000)
    with pytest.raises(SettingsError, match=r"tiny-1 may not run so: .* 0\.310 and 97\.00%"):
        engine_of(loaded, int8=far, precision="int8")
    assert engine_of(loaded, int8=far)._choices == ["fp32"]


def test_auto_takes_what_is_fastest(loaded: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    near = Agreement(max_difference=0.004, labels_equal=1.0, messages=1000)
    for fastest in ("fp32", "int8"):
        engine = engine_of(loaded, int8=near)

        def timed(
            works: Mapping[str, Callable[[], object]], engine: Engine = engine, best: str = fastest
        ) -> list[tuple[str, float]]:
            for choice, work in works.items():
                work()
                assert (type(engine._model.h[0].mlp.c_fc) is Int8Linear) == (choice == "int8")
            return [(choice, 1.0 if choice == best else 2.0) for choice in works]

        monkeypatch.setattr(tuning, "in_turn", timed)
        engine.warm_up()
        assert engine.precision == fastest
        engine.warm_up()
        assert engine.precision == fastest
        assert 0 <= engine.score_texts(["as it was"])[0] <= 1


def test_absent_device_is_refused(loaded: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="FILTERD_DEVICE=cuda, but torch sees no CUDA device"):
        Engine(loaded, device="cuda")
    assert Engine(loaded, device="auto").device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.03)])
def test_cuda_scores_are_near(starter: Classifier, precision: Wanted, tolerance: float) -> None:
    other = Classifier.load(device="cuda", precision=precision)
    texts = [text for _, text in sample()]
    expected = starter.engine.score_texts(texts)
    assert other.engine.score_texts(texts) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("budget", [1, 64, 4096])
def test_warm_up_scores_within_the_budget(loaded: Artifact, budget: int) -> None:
    engine_of(loaded, max_batch_tokens=budget).warm_up()


def test_warm_up_finds_a_budget(loaded: Artifact) -> None:
    engine = Engine(loaded, device="cpu", threads=2)
    engine.warm_up()
    assert engine.max_batch_tokens in [2 * step for step in tuning.STEPS]


def test_example_of_the_article_is_spam(starter: Classifier) -> None:
    (verdict,) = starter.classify([WINNER])
    assert verdict.label == "spam"
    assert verdict.score >= verdict.threshold == starter.engine.manifest.threshold
    assert verdict.model == starter.engine.manifest.version


def test_verdicts_keep_the_order(starter: Classifier) -> None:
    ham = "Ok, see you at home for dinner then"
    labels = [verdict.label for verdict in starter.classify([ham, WINNER, ham, ham, WINNER])]
    assert labels == ["ham", "spam", "ham", "ham", "spam"]
    assert starter.classify([]) == []


def test_threshold_is_the_artifacts_or_the_callers(tiny: Path) -> None:
    assert Classifier.load(tiny).threshold == 0.5
    (score,) = Classifier.load(tiny).engine.score_texts(["text"])
    for threshold, label in ((0.0, "spam"), (score, "spam"), (min(1.0, score + 1e-6), "ham")):
        classifier = Classifier.load(str(tiny), device="cpu", threshold=threshold)
        (verdict,) = classifier.classify(["text"])
        assert (verdict.label, verdict.threshold) == (label, threshold)
