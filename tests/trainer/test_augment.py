"""Alterations of training messages."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from trainer import recipe as recipes
from trainer.augment import augment, cut

OFF = ["other_digits=0", "other_case=0", "drop_words=0", "cut_words=0"]
TEXT = "Call 0900 123 now, you have won"


@given(st.text(), st.floats(0, 0.99), st.integers(0, 99))
def test_cutting_loses_nothing(text: str, share: float, seed: int) -> None:
    pieces = cut(text, share, random.Random(seed))
    assert "".join(pieces) == text
    assert all(pieces) or pieces == [""]


def altered(*overrides: str) -> str:
    recipe = recipes.load("starter", [*OFF, *overrides])
    return "".join(augment(TEXT, recipe, random.Random(4)))


def test_each_alteration() -> None:
    assert altered() == TEXT
    digits = altered("other_digits=1")
    assert digits != TEXT
    assert [c for c in digits if not c.isdigit()] == [c for c in TEXT if not c.isdigit()]
    assert altered("other_case=1").lower() == TEXT.lower()
    kept = altered("drop_words=0.5").split(" ")
    assert 0 < len(kept) < len(TEXT.split(" "))
    assert set(kept) <= set(TEXT.split(" "))


def test_a_message_never_becomes_empty() -> None:
    recipe = recipes.load("starter", [*OFF, "drop_words=0.99"])
    rng = random.Random(0)
    assert all("".join(augment("hi there", recipe, rng)).strip() for _ in range(50))
