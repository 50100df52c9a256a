"""What counts as the same text, and that no text changes sides."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.dataset import Label, Message
from trainer.splitting import SHARES, distinct, fold, side, split

LABELS = st.sampled_from(["ham", "spam"])
MESSAGES = st.lists(st.builds(Message, st.text(min_size=1, max_size=3), LABELS, st.integers(1)))


@given(MESSAGES, MESSAGES, st.integers(0, 9))
def test_more_data_moves_no_text(some: list[Message], more: list[Message], seed: int) -> None:
    before = {m.text: name for name, part in split(some, seed).items() for m in part}
    after = {m.text: name for name, part in split(more + some, seed).items() for m in part}
    assert before.items() <= after.items()


@given(MESSAGES)
def test_no_text_is_on_two_sides(messages: list[Message]) -> None:
    parts = split(distinct(messages).kept, 123)
    folded = [fold(message.text) for part in parts.values() for message in part]
    assert len(folded) == len(set(folded))


@given(MESSAGES)
def test_every_row_is_kept_or_reported_once(messages: list[Message]) -> None:
    numbered = [Message(m.text, m.label, row) for row, m in enumerate(messages)]
    unique = distinct(numbered)
    rows = [message.row for message in unique.kept]
    rows += [*unique.duplicates, *(row for group in unique.conflicts for row in group)]
    assert sorted(rows) == list(range(len(numbered)))


def test_folding_sees_through_case_space_and_width() -> None:
    assert fold("  Call\tNOW \u3000 ＷＩＮ") == "call now win"
    assert side("Call NOW", 1) == side("call  now", 1)


def test_a_text_with_both_labels_is_left_out() -> None:
    rows: list[tuple[str, Label]] = [("Hi", "ham"), ("hi ", "spam"), ("hi", "ham"), ("yo", "ham")]
    unique = distinct([Message(text, label, row) for row, (text, label) in enumerate(rows, 1)])
    assert unique.conflicts == ((1, 2, 3),)
    assert [message.text for message in unique.kept] == ["yo"]


def test_shares_and_seed() -> None:
    counts = Counter(side(f"message {number}", 123) for number in range(20_000))
    for name, share in SHARES.items():
        assert counts[name] / 20_000 == pytest.approx(share, abs=0.01)
    assert any(side(f"message {n}", 1) != side(f"message {n}", 2) for n in range(20))
