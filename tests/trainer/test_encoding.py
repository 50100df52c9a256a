"""Texts are encoded as serving encodes them; their altered forms depend on seed and epoch alone."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.engine import Engine
from filterd.tokenizer import DIGITS_PATTERN, Tokenizer
from tests.checkpoints import TEXTS
from tests.trainer.runs import ALTERED, begun, decoded, tiny, trained
from trainer import encoding, registry
from trainer.dataset import Message
from trainer.encoding import Encoder, longest
from trainer.vocabulary import learn

HARD = [*TEXTS, "ＷＩＮ а fr\u200bee  prize", "  spaces \t and\nlines  ", "call 07 99 001"]
ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
LEARNED = learn(HARD, 320)
BYTES = {bytes([byte]): byte for byte in range(256)}


def encoder(length: int = 24, **fields: object) -> Encoder:
    return Encoder(tiny(**fields), LEARNED, length)


def examples(texts: list[str], targets: list[float] | None = None) -> encoding.Examples:
    return encoding.of(texts, targets or [0.0] * len(texts))


@pytest.mark.parametrize("normalization", ["none", "confusables"])
@pytest.mark.parametrize("pooling", ["last", "padded-last"])
def test_plain_is_what_serving_reads(
    tmp_path: Path, small: list[Message], normalization: str, pooling: str
) -> None:
    recipe = tiny(normalization=normalization, pooling=pooling, max_length=120, epochs=1)
    fitting, run = trained(recipe, small, tmp_path)
    engine = Engine(registry.draft(fitting, run, 1.0, 0.5), device="cpu", precision="fp32")
    view = Encoder(recipe, fitting.start.tokenizer, fitting.length).plain(examples(HARD))
    assert view.ids == [engine.tokenize(text).windows[0] for text in HARD]
    assert all(len(engine.tokenize(text).windows) == 1 for text in HARD)
    plain = Encoder(tiny(), fitting.start.tokenizer, 120).plain(examples(HARD))
    assert (view.ids == plain.ids) == (normalization == "none" and pooling == "last")


def test_ham_is_disguised_as_seldom_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, float]] = []

    def note(text: str, rng: random.Random, amount: float, disguised: float) -> str:
        asked.append((text, disguised))
        return text

    monkeypatch.setattr(encoding, "alter", note)
    both = examples(["ham", "spam"], [0.0, 1.0])
    encoder(alteration=0.5, joining=0.9, ham_disguised=0.25).altered(both, random.Random(0))
    assert len(asked) > 2  # the joined ones, too
    assert set(asked) == {("ham", 0.25), ("spam", 1.0)}


def test_padded_last_pads_to_the_length() -> None:
    padding = encoder(pooling="padded-last", length=10)
    closing = padding.tokenizer.end_of_text
    short, long = padding.plain(examples(["a", "z0 z1 z2 z3 z4 z5 z6 z7"])).ids
    assert [len(short), len(long)] == [10, 10]
    assert short == [*padding.tokenizer.encode("a"), *[closing] * 9]
    assert closing not in long


def test_last_takes_the_first_window_and_pads_nothing() -> None:
    cutting = encoder(length=6)
    closing = cutting.tokenizer.end_of_text
    short, long = cutting.plain(examples(["a", "z0 z1 z2 z3 z4"])).ids
    assert short == [*cutting.tokenizer.encode("a"), closing]
    assert long == [*cutting.tokenizer.encode("z0 z1 z2 z3 z4")[:5], closing]


def test_the_longest_is_measured_normalised() -> None:
    tokenizer = Tokenizer(BYTES)
    assert longest(["ab", "abcd"], tiny(), tokenizer) == 4
    assert longest(["a\u200b\u200b", "abc"], tiny(), tokenizer) == 7
    assert longest(["a\u200b\u200b", "abc"], tiny(normalization="confusables"), tokenizer) == 3


def test_joined_with_spam_is_spam() -> None:
    texts = [f"<h{index}>" for index in range(20)] + [f"<s{index}>" for index in range(20)]
    given = examples(texts, [0.0] * 20 + [1.0] * 20)
    joining = encoder(joining=0.9, length=60)
    view = joining.altered(given, random.Random(1))
    read = decoded(joining.tokenizer, view)
    assert all(own in whole for own, whole in zip(texts, read, strict=True))
    joined = [whole for own, whole in zip(texts, read, strict=True) if whole != own]
    assert 25 <= len(joined) < 40
    assert view.targets.tolist() == [float("<s" in whole) for whole in read]
    assert view.targets[:20].sum() > 0
    assert given.targets.tolist() == [0.0] * 20 + [1.0] * 20  # the given ones stay as they are


def test_joined_takes_the_higher_of_soft_targets() -> None:
    given = examples(["<a>", "<b>"], [0.25, 0.75])
    joining = encoder(joining=0.9, length=60)
    for seed in range(10):
        view = joining.altered(given, random.Random(seed))
        read = decoded(joining.tokenizer, view)
        assert view.targets.tolist() == [0.75 if "<b>" in whole else 0.25 for whole in read]


def test_only_texts_of_a_group_are_joined() -> None:
    texts = [f"<{index}>" for index in range(30)]
    joining = encoder(joining=0.9, length=60)
    groups = [index % 3 for index in range(30)]
    read = decoded(joining.tokenizer, joining.altered(examples(texts), random.Random(2), groups))
    assert sum(whole.count("<") for whole in read) > 45
    for index, whole in enumerate(read):
        numbers = [int(part.split(">")[0]) for part in whole.split("<")[1:]]
        assert {number % 3 for number in numbers} == {index % 3}


def test_what_is_kept_is_never_altered() -> None:
    texts = [
        f"see you at lunch on the 2{index} of May, call 020 7946 0{index}" for index in range(20)
    ]
    given = examples(texts, [0.0, 1.0] * 10)
    kept = replace(given, kept=tuple(index % 4 < 2 for index in range(20)))
    assert kept.pick([5, 4, 3]).kept == (True, True, False)
    changing = encoder(alteration=1.0, joining=0.9, cut_words=0.3, length=200)
    plain, view = changing.plain(given), changing.altered(kept, random.Random(1))
    same = [ids == own for ids, own in zip(view.ids, plain.ids, strict=True)]
    assert all(same[index] for index in range(20) if kept.kept[index])
    assert not any(same[index] for index in range(20) if not kept.kept[index])
    assert view.targets[torch.tensor(kept.kept)].tolist() == [0.0, 1.0] * 5


@settings(max_examples=50, deadline=None)
@given(st.lists(ANY, min_size=1, max_size=5), st.integers(0, 99))
def test_cutting_words_changes_tokens_but_no_text(texts: list[str], seed: int) -> None:
    """Also where a text is normalised, which takes white space off the ends of what it is given."""
    cutting = encoder(normalization="confusables", cut_words=0.3, length=1000)
    plain = cutting.plain(examples(texts))
    cut = cutting.altered(examples(texts), random.Random(seed))
    assert decoded(cutting.tokenizer, cut) == decoded(cutting.tokenizer, plain)


def test_cutting_words_cuts_some() -> None:
    text = "see you at lunch then " * 4
    cutting = encoder(cut_words=0.3, length=1000)
    cut = cutting.altered(examples([text]), random.Random(1)).ids
    assert len(cut[0]) > len(cutting.plain(examples([text])).ids[0])


def test_an_altered_view_depends_on_seed_and_epoch_alone(
    tmp_path: Path, small: list[Message]
) -> None:
    from trainer.make import labelled

    def views(seed: int, epochs: list[int]) -> list[list[list[int]]]:
        fitting = begun(tiny(seed=seed, max_length=60, **ALTERED), small, tmp_path)
        reader = fitting.reader(labelled(small))
        return [reader.view(epoch).ids for epoch in epochs]

    first, second, third = views(1, [0, 1, 2])
    assert first != second != third != first
    state = random.getstate()
    random.seed(5)
    torch.manual_seed(5)
    assert views(1, [2, 0, 0, 1]) == [third, first, first, second]
    random.setstate(state)
    assert views(2, [0]) != [first]


def test_altered_texts_are_altered_before_they_are_normalised() -> None:
    """So that the model sees what serving gives it of a disguise."""
    undoing = encoder(alteration=1.0, normalization="confusables", length=1000)
    for seed in range(30):
        read = decoded(
            undoing.tokenizer, undoing.altered(examples(["free prize"]), random.Random(seed))
        )
        assert not set(read[0]) & set("\u200b\u200c\u200d\u2060\ufeff\u00ad")


def test_the_vocabularys_own_split_is_kept(tmp_path: Path, small: list[Message]) -> None:
    """SmolLM2 splits texts otherwise than GPT-2; an artifact must remember how."""
    from filterd import artifact as artifacts

    recipe = tiny(epochs=1, vocab_size=260)
    fitting, run = trained(recipe, small, tmp_path / "work")
    ranks = {**BYTES, b"12": 256, b" 1": 257}
    tokenizer = Tokenizer(ranks, DIGITS_PATTERN)
    object.__setattr__(fitting.start, "tokenizer", tokenizer)
    drafted = registry.draft(fitting, run, 1.0, 0.5)
    config = drafted.manifest.model
    object.__setattr__(config, "vocab_size", tokenizer.vocab_size)
    drafted.weights["wte.weight"] = drafted.weights["wte.weight"][: tokenizer.vocab_size].clone()
    registry.write(drafted, {}, tmp_path / "a")
    served = Engine(artifacts.load(tmp_path / "a"), device="cpu", precision="fp32")
    plain = Encoder(recipe, tokenizer, recipe.max_length).plain(examples(["call 12 12"])).ids
    assert [served.tokenize("call 12 12").windows[0]] == plain
    assert plain[0] != Encoder(recipe, Tokenizer(ranks), 24).plain(examples(["call 12 12"])).ids[0]
