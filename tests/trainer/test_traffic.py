"""What a retraining takes from the streams: only what it can use."""

from __future__ import annotations

from trainer.retraining.traffic import scores_among


def test_what_is_no_score_is_no_traffic() -> None:
    values = (b"0", b"0.25", b"1", b"x", b"", b"nan", b"inf", b"-0.1", b"1.1")
    assert scores_among(values) == [0, 0.25, 1]
