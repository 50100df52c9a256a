"""What is printed: one harmless line, whatever a message holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.terminal import printable


@given(st.text())
def test_any_text_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert "\t" not in shown
    assert "\x1b" not in shown
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain café 🎉", "plain café 🎉"),
        ("a\tb\nc\rd", "a\\tb\\nc\\rd"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("right\u202eleft", "right\\u202eleft"),
        ("family 👨\u200d👩", "family 👨\u200d👩"),
        ("\ud800", "\\ud800"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown
