"""Tuning: what warm-up measures, and what it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from math import inf
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

LENGTHS = (6, 8, 9, 10, 12, 13, 14, 16, 18, 20, 23, 26, 29, 33, 37, 41, 47, 56)
"""Tokens of short messages: quantiles of the SMS Spam Collection."""
STEPS = (256, 512, 1024, 2048, 4096)
"""Tokens a thread, from which the budget of a batch is chosen."""
LONGEST_BATCH_S = 1.0
"""A larger batch is not tried once one has taken so long: what arrives meanwhile waits for it.
GPT-2 on two cores takes about 0.65 s for 256 tokens a core, and 4 to 10% less a token for 512."""
MOST_RUNS = 3
ENOUGH_S = 0.1
"""Runs of one measurement; a long one needs no second."""
ROUNDS = 5
ENOUGH_ROUNDS_S = 1.0
"""Rounds of a comparison; after so long there is no other."""
ENOUGH = 0.97
"""Share of the best rate for which a smaller batch is taken."""
WORTH_IT = 1.25
"""How much faster a coarser precision must be to be taken."""


def typical(tokens: int, max_length: int, whole: bool) -> list[list[int]]:
    """Windows as long as messages are, no more than fit; all of them full if ``whole``."""
    windows: list[list[int]] = []
    for quantile in cycle(LENGTHS):
        length = max_length if whole else min(quantile, max_length)
        if windows and length > tokens:
            break
        windows.append([0] * length)
        tokens -= length
    return windows


def seconds(work: Callable[[], object]) -> float:
    """The best of some runs: what else the machine does only ever slows them."""
    times: list[float] = []
    while len(times) < MOST_RUNS and sum(times) < ENOUGH_S:
        started = perf_counter()
        work()
        times.append(perf_counter() - started)
    return min(times)


def in_turn(
    works: Mapping[T, Callable[[], object]], clock: Callable[[], float] = perf_counter
) -> list[tuple[T, float]]:
    """The best of some runs of each, taken in turn, so that what slows one down slows the others.

    A choice by one run each would be another one whenever the machine is busy.
    """
    best = dict.fromkeys(works, inf)
    begun = clock()
    for _ in range(ROUNDS):
        for choice, work in works.items():
            started = clock()
            work()
            best[choice] = min(best[choice], clock() - started)
        if clock() - begun > ENOUGH_ROUNDS_S:
            break
    return list(best.items())


def fastest(choices: Sequence[tuple[T, float]]) -> T:
    """Of precisions and their seconds, the first unless another is well worth it."""
    best, least = choices[0]
    for choice, took in choices[1:]:
        if took * WORTH_IT < least:
            best, least = choice, took
    return best


def budget(threads: int, score: Callable[[int], float]) -> int:
    """The least tokens of a batch that are about as fast a token as any.

    score: seconds for a batch of so many tokens.
    """
    rates: list[tuple[int, float]] = []
    for step in STEPS:
        tokens = step * threads
        took = score(tokens)
        rates.append((tokens, tokens / took))
        if took > LONGEST_BATCH_S:
            break
    within = ENOUGH * max(rate for _, rate in rates)
    return next(tokens for tokens, rate in rates if rate >= within)
