"""What promotes a challenger, and what does not; which feedback is learned, and which measured."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.retraining import flipped, new_kind
from trainer.dataset import Message
from trainer.evaluation import judge
from trainer.material import Parts
from trainer.retraining import drift, gate
from trainer.retraining.gate import Limits, Pair
from trainer.retraining.gathering import Opinion
from trainer.retraining.sifting import doubtful, relabel, sift

LIMITS = Limits(100, 20, 30, 0.01, 0.005, 0.5)


def pair(rows: int, challenger_wrong: int, champion_wrong: int, *, only_ham: bool = False) -> Pair:
    """Both on the same messages, half of them spam; errors at the start of each label's."""
    spam = np.zeros(rows) if only_ham else np.arange(rows) % 2.0

    def scores(wrong: int) -> np.ndarray:
        found = np.where(spam == 1, 0.9, 0.1)
        found[:wrong] = 1 - found[:wrong]
        return found + np.linspace(0, 0.01, rows)

    return Pair(
        judge(scores(challenger_wrong), spam, 0.5), judge(scores(champion_wrong), spam, 0.5)
    )


def passed(**changes: object) -> dict[str, bool]:
    given = {
        "test": pair(1000, 20, 20),
        "held_out": pair(60, 5, 30),
        "sample": None,
        "doubtful": 0.1,
        **changes,
    }
    limits = given.pop("limits", LIMITS)
    return {check.name: check.passed for check in gate.judge(**given, limits=limits)}  # type: ignore[arg-type]


def test_no_worse_and_better_is_promoted() -> None:
    assert passed() == {"frozen test set": True, "held-out feedback": True, "labels": True}
    assert gate.refusals([]) == ""


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"test": pair(1000, 60, 20)}, "frozen test set"),  # shown to be worse
        ({"test": pair(100, 6, 3)}, "frozen test set"),  # measured to be worse, if not shown
        ({"test": pair(1000, 10, 0, only_ham=True)}, "frozen test set"),  # it blocks more ham
        ({"test": pair(99, 3, 3)}, "frozen test set"),  # too few to tell
        ({"held_out": pair(60, 28, 30)}, "held-out feedback"),  # hardly better
        ({"held_out": pair(60, 30, 30)}, "held-out feedback"),  # the same
        ({"held_out": pair(19, 0, 19)}, "held-out feedback"),  # better, of too few
        ({"held_out": None}, "held-out feedback"),
        ({"sample": pair(100, 30, 10)}, "sample of traffic"),
        ({"doubtful": 0.51}, "labels"),
    ],
)
def test_each_of_these_is_refused(changes: dict[str, object], refused: str) -> None:
    found = passed(**changes)
    assert [name for name, ok in found.items() if not ok] == [refused]


def test_a_small_sample_has_no_say() -> None:
    assert "sample of traffic" not in passed(sample=pair(29, 29, 0))
    assert passed(sample=pair(30, 2, 2))["sample of traffic"]
    assert passed(test=pair(100, 6, 3), limits=replace(LIMITS, margin=0.1, ham_margin=0.1))


def opinions(words: list[tuple[str, str]], source: str = "") -> list[Opinion]:
    return [
        Opinion(f"{number}-0", text, label, source)  # type: ignore[arg-type]
        for number, (text, label) in enumerate(words, start=1)
    ]


@pytest.fixture
def parts() -> Parts:
    """A prepared folder of three messages."""
    return {
        "train": [Message("Hello you", "ham", 1)],
        "validation": [Message("win it", "spam", 1)],
        "test": [Message("Frozen", "ham", 1)],
    }


def test_feedback_is_sifted(parts: Parts) -> None:
    said = opinions(
        [
            *(("a new one", "ham"), ("A  new one", "spam")),  # the later word counts
            *(("frozen", "spam"), ("WIN IT", "ham"), ("hello you", "ham")),
        ]
    )
    everything = sift(said, parts, "0-0", held_out=0.0)
    assert [(o.text, o.label) for o in everything.learned] == [("A  new one", "spam")]
    assert everything.relabelled == {"win it": "ham"}
    assert relabel(parts["validation"], everything.relabelled)[0].label == "ham"
    assert everything.counts == {
        "standing": 5,
        "repeated": 1,
        "in_test": 1,
        "test_disputed": 1,
        "in_prepared": 2,
        "relabelled": 1,
    }


def test_a_text_stays_on_its_side_and_what_is_held_out_is_recent(parts: Parts) -> None:
    said = opinions(new_kind(300))
    sifted = sift(said, parts, "0-0", held_out=0.3)
    aside = {opinion.text for opinion in sifted.held_out}
    assert 0.22 < len(aside) / len(said) < 0.38
    assert not aside & {opinion.text for opinion in sifted.learned}
    later = sift(said[::-1][:200][::-1], parts, "250-0", held_out=0.3)
    assert {opinion.text for opinion in later.held_out} < aside
    assert all(int(opinion.id.partition("-")[0]) > 250 for opinion in later.held_out)
    assert not aside & {opinion.text for opinion in later.learned}


def test_a_sample_is_measured_and_never_learned(parts: Parts) -> None:
    sifted = sift(opinions(new_kind(50), "sample"), parts, "0-0", held_out=0.3)
    assert (len(sifted.learned), len(sifted.held_out)) == (0, 0)
    assert len(sifted.sample) == len(new_kind(50))


def test_doubtful_labels_are_those_that_all_else_contradicts(small: list[Message]) -> None:
    good = opinions(new_kind(40))
    bad = [replace(o, id=f"bad-{o.id}") for o in opinions(flipped(small[::3]))]
    found = {opinion.id for opinion in doubtful([*good, *bad], small)}
    assert len([id_ for id_ in found if id_.startswith("bad")]) >= 0.4 * len(bad)
    assert len([id_ for id_ in found if not id_.startswith("bad")]) <= 0.1 * len(good)
    assert doubtful([], small) == []


def test_drift_grows_with_the_share_of_new_messages() -> None:
    rng = random.Random(1)
    old = [f"see you at {rng.choice(['lunch', 'home', 'work'])} {n}" for n in range(400)]
    new = [f"pay the fee of your parcel {n}" for n in range(400)]
    before = drift.sketch(old, [0.1] * 400)
    same = drift.divergences(before, drift.sketch(old[::-1], [0.1] * 400))
    assert same == {"lengths": 0.0, "scores": 0.0, "words": 0.0}
    found = [
        drift.divergences(
            before, drift.sketch(old[:-cut] + new[:cut], [0.1] * (400 - cut) + [0.9] * cut)
        )
        for cut in (40, 200, 399)
    ]
    for name in ("words", "scores"):
        values = [each[name] for each in found]
        assert 0 < values[0] < values[1] < values[2] <= 1
    assert drift.divergences({}, before) == {}
    assert drift.divergences(before, drift.sketch([], [])) == {}
