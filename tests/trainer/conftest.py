"""Shared by the trainer's tests: the real data where it is, and a small made-up set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from trainer.dataset import Message

DATA = Path(__file__).parents[3] / "shared" / "data" / "sms_spam_collection"
HAM = ("see you at lunch", "are you home yet", "call me when you land", "mum says hello")
SPAM = ("win a free prize now", "claim your cash award", "urgent! call 0900 to win", "free tones")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Matrices this small are multiplied faster by one thread than by several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's products are less exact than what tests compare, and one process would take it."""
    monkeypatch.setenv("TRAINER_DEVICE", "cpu")


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """For artifacts that nobody looks at: their report takes longer than their training."""
    monkeypatch.setattr("trainer.report.files", lambda *_: {})


@pytest.fixture(scope="session")
def sms() -> Path:
    """The SMS Spam Collection's folder."""
    if not DATA.is_dir():
        pytest.skip("the SMS Spam Collection is not at ../shared/data/sms_spam_collection")
    return DATA


@pytest.fixture(scope="session")
def small() -> list[Message]:
    """120 made-up messages, two thirds ham, all distinct."""
    ham = [f"{HAM[index % 4]} number {index}" for index in range(80)]
    spam = [f"{SPAM[index % 4]} code {index}" for index in range(40)]
    labelled = [(text, "ham") for text in ham] + [(text, "spam") for text in spam]
    return [
        Message(text, "spam" if label == "spam" else "ham", row)
        for row, (text, label) in enumerate(labelled, start=1)
    ]


@pytest.fixture(scope="session")
def small_tsv(small: list[Message]) -> bytes:
    """The same messages in the headerless form."""
    return "".join(f"{message.label}\t{message.text}\n" for message in small).encode()
