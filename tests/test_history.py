"""Samples of the metrics: rates, percentiles, and bounded memory."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from filterd.history import RECENT, Distribution, History, read
from filterd.metrics import Metrics


def test_sample_is_what_happened_between_two_readings() -> None:
    metrics = Metrics(CollectorRegistry())
    history = History()
    metrics.verdicts.labels("spam").inc(100)
    metrics.latency_seconds.observe(50)
    assert history.add(read(metrics.registry, 1000.0)) is None
    metrics.verdicts.labels("spam").inc(4)
    metrics.verdicts.labels("ham").inc(6)
    metrics.dead_letters.labels("poison").inc(2)
    metrics.forward_seconds.observe(0.25)
    metrics.score.observe(0.97)
    metrics.lag_entries.set(math.nan)
    metrics.oldest_undelivered_seconds.set(3.5)
    sample = history.add(read(metrics.registry, 1002.0))
    assert sample is not None
    assert (sample.spam, sample.ham, sample.dead, sample.lag) == (2, 3, 1, None)
    assert (sample.stages_ms[2], sample.stages_ms[0]) == (250, None)
    assert sample.latency_ms == (None, None, None)
    assert sample.oldest_s == 3.5
    assert (sum(history.scores()), history.scores()[-1]) == (1, 1)


def test_share_of_the_verdicts_that_took_no_forward_pass() -> None:
    metrics = Metrics(CollectorRegistry())
    history = History()
    history.add(read(metrics.registry, 0.0))
    shares = []
    for hits, verdicts in ((0, 0), (0, 8), (6, 8), (8, 8), (9, 8)):  # settled a tick later
        metrics.duplicate_hits.inc(hits)
        metrics.verdicts.labels("ham").inc(verdicts)
        sample = history.add(read(metrics.registry, len(shares) + 1.0))
        assert sample is not None
        shares.append(sample.remembered)
    assert shares == [None, 0, 0.75, 1, 1]


def test_only_the_last_samples_are_kept() -> None:
    metrics = Metrics(CollectorRegistry())
    history = History(kept=5)
    for second in range(20):
        metrics.verdicts.labels("ham").inc(second)
        metrics.score.observe(0.1)
        history.add(read(metrics.registry, float(second)))
    assert [sample["ham"] for sample in history.samples()] == [15, 16, 17, 18, 19]
    assert sum(history.scores()) == 5
    recent = history.recent()
    assert recent is not None
    assert recent.ham == sum(range(20 - RECENT, 20)) / RECENT


@given(st.lists(st.floats(0.0001, 59), min_size=1, max_size=60), st.sampled_from([50, 95, 99]))
def test_percentile_lies_in_the_bucket_of_the_exact_one(values: list[float], percent: int) -> None:
    metrics = Metrics(CollectorRegistry())
    for value in values:
        metrics.latency_seconds.observe(value)
    found = read(metrics.registry, 0.0).distributions["latency_seconds"]
    exact = sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
    bounds = [0.0, *found.bounds]
    low = max(bound for bound in bounds if bound < exact)
    high = min(bound for bound in bounds if bound >= exact)
    answer = found.percentile(percent)
    assert answer is not None
    assert low <= answer <= high


def test_beyond_the_last_bound_nothing_is_invented() -> None:
    assert Distribution((1.0, math.inf), (0, 3), 99).percentile(50) == 1.0
    assert Distribution((1.0, math.inf), (0, 0), 0).percentile(50) is None
    assert Distribution((1.0, math.inf), (4, 0), 2).percentile(50) == pytest.approx(0.5)
