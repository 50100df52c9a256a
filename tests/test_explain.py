"""Explaining: each effect is the difference that leaving a part out makes, wherever it stands."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterd.classifier import Classifier
from filterd.explain import LONGEST_WORD, Explanation, explain
from tests.artifacts import tiny_artifact
from tests.commands import filterd


@pytest.fixture(scope="module")
def tiny_classifier(tiny: Path) -> Classifier:
    """Its tokens are single bytes: every character beyond ASCII is made of several."""
    return Classifier.load(tiny)


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """The same, read as the article does."""
    folder = tiny_artifact(tmp_path_factory.mktemp("padded") / "a")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "pooling": "padded-last"}))
    return Classifier.load(folder)


def log_odds(score: float) -> float:
    return math.log(score / (1 - score))


def check(classifier: Classifier, text: str, explained: Explanation) -> None:
    """Every effect against the score of the text without that part, through the public door."""
    (full,) = classifier.classify([text])
    assert explained.verdict.score == pytest.approx(full.score, abs=1e-4)
    for part in explained.parts:
        (without,) = classifier.classify([text[: part.start] + text[part.stop :]])
        change = log_odds(full.score) - log_odds(without.score)
        assert part.effect == pytest.approx(change, abs=1e-3)


TEXTS = st.text(st.sampled_from("ab é中🎉\n"), max_size=8)


@settings(max_examples=40, deadline=None)
@given(text=TEXTS)
def test_effects_are_what_leaving_out_changes(tiny_classifier: Classifier, text: str) -> None:
    explained = explain(tiny_classifier, text)
    assert explained.text == text
    assert "".join(text[part.start : part.stop] for part in explained.parts) == text
    check(tiny_classifier, text, explained)


def test_the_articles_pooling_is_explained_too(padded: Classifier) -> None:
    check(padded, "Grüße, 🎉 du", explain(padded, "Grüße, 🎉 du"))


def test_a_word_is_a_part_and_what_has_no_spaces_comes_in_tokens(
    tiny_classifier: Classifier,
) -> None:
    explained = explain(tiny_classifier, "win a abcdefghijklmn")
    words = [explained.text[part.start : part.stop] for part in explained.parts]
    assert words == ["win", " a", " ", *"abcdefghijklmn"]
    assert len("abcdefghijklmn") > LONGEST_WORD


def test_of_a_long_text_the_deciding_window_is_explained(tiny_classifier: Classifier) -> None:
    text = " ".join(f"word{number}" for number in range(30))
    explained = explain(tiny_classifier, text)
    first, last = explained.parts[0].start, explained.parts[-1].stop
    assert 0 < last - first <= 31
    (alone,) = tiny_classifier.classify([text[first:last]])
    assert alone.score == pytest.approx(explained.verdict.score, abs=1e-4)
    assert tiny_classifier.classify([text])[0].score == pytest.approx(alone.score, abs=1e-4)


def test_coarser_parts_where_it_would_cost_too_much(tiny_classifier: Classifier) -> None:
    text = "a b c d e f g h"
    explained = explain(tiny_classifier, text, most_tokens=3 * 16)
    assert len(explained.parts) == 3
    assert "".join(text[part.start : part.stop] for part in explained.parts) == text
    check(tiny_classifier, text, explained)


def test_command(tiny: Path) -> None:
    lines = filterd("explain", "one\ttwo", "three", artifact=str(tiny)).out.splitlines()
    assert [line.split("\t")[1] for line in lines if line[0] in "+-"] == ["one", "\\ttwo", "three"]
    done = filterd("explain", "--json", stdin="one 🎉\n", artifact=str(tiny))
    answer = json.loads(done.out)
    assert (answer["text"], [part["text"] for part in answer["parts"]]) == (
        "one 🎉",
        ["one", " 🎉"],
    )
