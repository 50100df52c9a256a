"""Loads are open and random, latencies count from the meant departure, a sweep closes in."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest

from filterd.bench import Load, Step, arrivals, messages
from filterd.sweep import Bound, sweep
from tests.commands import filterd


def test_arrivals_are_poisson() -> None:
    times = arrivals(Load(rate=1000, seconds=20))
    gaps = np.diff(times)
    assert (gaps >= 0).all()
    assert times[-1] < 20
    assert abs(len(times) - 20_000) < 5 * 20_000**0.5
    assert abs(gaps.mean() - 1e-3) < 5e-5
    assert abs(gaps.std() - 1e-3) < 5e-5  # as its mean is: exponential
    assert not np.array_equal(times[:10], arrivals(Load(1000, 20, seed=1))[:10])


@pytest.mark.parametrize(("repeats", "distinct"), [(0.0, 1000), (0.8, 200), (1.0, 3)])
def test_a_share_of_the_messages_repeats(repeats: float, distinct: int) -> None:
    found = list(islice(messages(["a", "b", "c"], Load(1, 1, repeats=repeats), "one"), 1000))
    assert abs(len(set(found)) - distinct) < 50


def test_another_run_sends_other_texts() -> None:
    """The daemon would remember them."""
    one, other = (set(islice(messages(["a"], Load(1, 1), run), 1000)) for run in ("one", "other"))
    assert len(one & other) < 5


def step(rate: float, p99_ms: float, missing: int = 0, sent_rate: float | None = None) -> Step:
    latency = {"p50": 1.0, "p90": 1.0, "p99": p99_ms, "p99.9": p99_ms, "max": p99_ms}
    left = rate if sent_rate is None else sent_rate
    return Step(rate, 1.0, 100, left, 100 - missing, 0, missing, rate, latency, 0.0)


def test_a_step_holds_if_all_arrived_in_time_and_as_many_left_as_were_meant_to() -> None:
    assert step(100, 50).holds(99, 50)
    assert not step(100, 50.1).holds(99, 50)
    assert not step(100, 50, missing=1).holds(99, 50)
    assert not step(100, 50, sent_rate=80).holds(99, 50)


def test_verdicts_that_come_more_slowly_than_messages_leave_fall_behind() -> None:
    assert not step(100, 50).fell_behind
    assert not step(100, 50, sent_rate=80).fell_behind
    assert step(100, 50, sent_rate=110).fell_behind


def test_what_is_missing_is_null_in_json() -> None:
    found = json.loads(json.dumps(step(100, float("inf"), missing=2).as_json(), allow_nan=False))
    assert found["latency_ms"]["p99"] is None
    assert found["missing"] == 2


@pytest.mark.parametrize("limit", [3, 99, 100, 777, 5000])
@pytest.mark.parametrize("first", [1.0, 100.0, 20_000.0])
def test_a_sweep_finds_the_highest_rate_that_holds(limit: float, first: float) -> None:
    def measure(rate: float) -> Step:
        return step(rate, 10 if rate <= limit else 1000)

    found = sweep(measure, Bound(99, 100), first, precision=0.05)
    assert found.best_rate is not None
    assert 0.94 * limit <= found.best_rate <= limit
    assert len(found.steps) < 30


@pytest.mark.parametrize("measure", [lambda rate: step(rate, 1000)])
def test_a_sweep_says_where_nothing_holds(measure: Callable[[float], Step]) -> None:
    found = sweep(measure, Bound(99, 100), 100.0)
    assert found.best_rate is None


def test_several_partitions_are_refused() -> None:
    names = {name: f"{{sms-*}}:{name}" for name in ("input_stream", "output_stream", "dead_stream")}
    done = filterd("bench", "--partitions", "2", **names)
    assert done.code == 2
    assert "--partitions 1 loads {sms-0}:input_stream" in done.err
