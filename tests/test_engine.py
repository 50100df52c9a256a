"""The engine: equal scores alone, in any batch and on any threads; budget, device and warm-up."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from filterd import artifact, tuning
from filterd.artifact import Artifact
from filterd.demo import sample
from filterd.engine import Engine, Tokens, cut
from filterd.errors import SettingsError
from filterd.model import SpamModel
from tests.engines import engine_of, one_thread, some_texts

ROOM = 31
"""Tokens of text in one window of the tiny artifact."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def loaded(tiny: Path) -> Artifact:
    return artifact.load(tiny)


@pytest.fixture(scope="module")
def engine(loaded: Artifact) -> Engine:
    return engine_of(loaded)


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


def test_callers_at_once_get_their_own_scores(loaded: Artifact) -> None:
    """Of parts side by side, of long texts on all cores, and of both."""
    shared = Engine(loaded, device="cpu", max_batch_tokens=100, threads=2)
    shared._operations_a_token = 10**9
    texts = [text for _, text in sample()][:120]
    batches = [texts[first : first + 12] for first in range(0, 120, 12)]
    batches += [[text * 3] for text in texts[:20]]
    alone = engine_of(loaded)
    with ThreadPoolExecutor(4) as callers:
        for found, batch in zip(callers.map(shared.score_texts, batches), batches, strict=True):
            assert found == pytest.approx(alone.score_texts(batch), abs=1e-4)


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


def test_absent_device_is_refused(loaded: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="FILTERD_DEVICE=cuda, but torch sees no CUDA device"):
        Engine(loaded, device="cuda")
    assert Engine(loaded, device="auto").device.type == "cpu"


@pytest.mark.parametrize("budget", [1, 64, 4096])
def test_warm_up_scores_within_the_budget(loaded: Artifact, budget: int) -> None:
    engine_of(loaded, max_batch_tokens=budget).warm_up()


def test_warm_up_finds_a_budget(loaded: Artifact) -> None:
    engine = Engine(loaded, device="cpu", threads=2)
    engine.warm_up()
    assert engine.max_batch_tokens in [2 * step for step in tuning.STEPS]
