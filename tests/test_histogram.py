"""The histogram counts as the client's own does."""

from __future__ import annotations

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from filterd.histogram import Histogram

BOUNDS = (0.0, 0.25, 0.5, 1.0, 20.0)


@given(st.lists(st.lists(st.sampled_from((*BOUNDS, 0.125, 0.375, 7.5, 21.0)))))
def test_it_says_what_the_clients_own_says(batches: list[list[float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram("seconds", "Of what", BOUNDS, ours)
    expected = prometheus_client.Histogram("seconds", "Of what", registry=theirs, buckets=BOUNDS)
    for batch in batches:
        histogram.observe_all(batch)
        for value in batch:
            expected.observe(value)
    histogram.observe(0.375)
    expected.observe(0.375)
    assert said(ours) == said(theirs)


def test_two_of_one_name_are_refused() -> None:
    registry = CollectorRegistry()
    Histogram("seconds", "Of what", BOUNDS, registry)
    with pytest.raises(ValueError, match="seconds"):
        Histogram("seconds", "Of what", BOUNDS, registry)


def said(registry: CollectorRegistry) -> list[str]:
    """Every line, but when the histogram was made."""
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_created" not in line]
