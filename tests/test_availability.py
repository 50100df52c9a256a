"""How long the daemon waits for Redis."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from filterd.availability import pause_s


@given(st.integers(min_value=0, max_value=10**9))
def test_a_pause_is_bounded_however_long_the_outage(failures: int) -> None:
    assert 0 <= pause_s(failures) <= 5
