"""The sample of messages that comes along."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterd.classifier import Classifier
from filterd.demo import sample
from filterd.errors import DataError


def test_sample_is_a_few_hundred_different_messages_of_both_labels() -> None:
    messages = sample()
    labels = [label for label, _ in messages]
    assert len(messages) >= 300
    assert min(labels.count("spam"), labels.count("ham")) >= 100
    assert len({text.casefold() for _, text in messages}) == len(messages)


def test_sample_names_no_real_address() -> None:
    for _, text in sample():
        assert text.strip() == text != ""
        lowered = text.lower()
        assert not any(ending in lowered for ending in (".com", ".net", ".co.uk", "@gmail"))


def test_starter_agrees_with_people_on_most_of_the_sample() -> None:
    messages = sample()
    verdicts = Classifier.load(device="cpu").classify([text for _, text in messages])
    agreed = sum(v.label == label for v, (label, _) in zip(verdicts, messages, strict=True))
    assert agreed / len(messages) >= 0.85


def test_line_without_a_label_is_named(tmp_path: Path) -> None:
    path = tmp_path / "messages.tsv"
    path.write_text("ham\tHello\nno label\n")
    with pytest.raises(DataError, match="line 2"):
        sample(path)
