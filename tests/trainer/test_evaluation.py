"""Evaluations hold what was measured; robustness is fair and reproducible."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from trainer.calibration import Floats
from trainer.dataset import Message
from trainer.evaluation import judge, measure, measure_robustness, truth
from trainer.measures import MEASURED

ALTERATIONS = {
    "nothing": lambda text, rng: text,
    "loud": lambda text, rng: text.upper(),
    "shuffled": lambda text, rng: "".join(rng.sample(text, len(text))),
}


def by_prize(messages: Sequence[Message]) -> Floats:
    return np.array([0.9 if "prize" in message.text else 0.1 for message in messages])


def test_an_evaluation_is_json(small: list[Message]) -> None:
    scores = by_prize(small)
    found = judge(scores, truth(small), 0.5)
    assert found.measures == measure(scores, truth(small), 0.5)
    values = json.loads(json.dumps(found.as_json()))
    assert values["recall"] == 0.25
    assert values["recall_at_1_in_1000"] is None
    assert values["reasons"]["recall_at_1_in_1000"] == "takes 1,000 ham, there are 80"
    assert values["intervals"]["recall"][0] < 0.25 < values["intervals"]["recall"][1]
    for name in MEASURED:
        assert (name in values["intervals"]) != (name in values["reasons"])


def test_robustness(small: list[Message]) -> None:
    plain, nothing, loud, shuffled = measure_robustness(by_prize, small, 0.5, ALTERATIONS)
    assert (plain.alteration, plain.spam, plain.found, plain.recall) == ("plain", 40, 10, 0.25)
    assert (nothing.changed, nothing.found, nothing.change) == (0, 10, 0)
    assert (loud.changed, loud.found, loud.change) == (40, 0, -0.25)
    assert shuffled.changed == 40
    assert plain.low < plain.recall < plain.high


def test_each_alteration_stands_for_itself(small: list[Message]) -> None:
    def odd(messages: Sequence[Message]) -> Floats:
        return np.array([float(sum(map(ord, m.text[:3])) % 2) for m in messages])

    def swap(text: str, rng: Random) -> str:
        return chr(rng.randrange(97, 120)) + text[1:]

    alone = measure_robustness(odd, small, 0.5, {"swap": swap})
    among = measure_robustness(odd, small, 0.5, {**ALTERATIONS, "swap": swap})
    assert alone[-1] == among[-1]
    assert measure_robustness(odd, small, 0.5, {"swap": swap}) == alone
    seeds = {measure_robustness(odd, small, 0.5, {"swap": swap}, seed)[1] for seed in range(9)}
    assert len(seeds) > 1


def test_robustness_without_spam(small: list[Message]) -> None:
    ham = [message for message in small if message.label == "ham"]
    assert measure_robustness(by_prize, ham, 0.5, ALTERATIONS) == []


@pytest.mark.parametrize("label", ["ham", "spam"])
def test_one_label_is_judged(small: list[Message], label: str) -> None:
    part = [message for message in small if message.label == label]
    found = judge(by_prize(part), truth(part), 0.5)
    assert found.measures.rows == len(part)
    assert set(found.intervals) | set(found.reasons) == set(MEASURED)
