"""Tuning: what warm-up measures, and what it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from math import inf
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

LENGTHS = (6, 8, 9, 10, 12, 13, 14, 16, 18, 20, 23, 26, 29, 33, 37, 41, 47, 56)
"""Tokens of short messages: quantiles of the SMS Spam Collection, evenly apart."""
GOLDEN = (5**0.5 - 1) / 2
"""Its multiples spread over 0 to 1 evenly, however many are taken."""
STEPS = (256, 512, 1024, 2048)
"""Tokens a core, from which the budget of a batch is chosen."""
GPU_CORES = 16
"""Cores that a GPU counts as in this: 4,096 to 32,768 tokens at once. These were not compared."""
WORTH_A_BATCH = 5e9
"""Floating-point operations of a core, below which a batch is too short for the price that each one
has: an idle engine starts on less anyhow. Behind Redis the starter made, of its messages a second
with 4,096 tokens on two cores (11 GFLOP, 90 ms), .73 with 1,024, .84 with 2,048, .97 with 8,192."""
LONGEST_BATCH_S = 1.0
"""A larger batch is not tried once one has taken so long: what arrives meanwhile waits for it.
GPT-2 on two cores takes about 0.65 s for 256 tokens a core, and 4 to 10% less a token for 512."""
ROUNDS = 5
ENOUGH_ROUNDS_S = 0.5
"""Rounds of a comparison; after so long there is no other, but there are two."""
ENOUGH = 0.97
"""Share of the best rate for which a smaller batch is taken."""
WORTH_IT = 1.25
"""How much faster a coarser precision must be to be taken."""


def typical(tokens: int, max_length: int, whole: bool) -> list[list[int]]:
    """Windows as long as messages are, no more than fit; all of them full if ``whole``.

    Of as many lengths as messages have: few that repeat would attend in groups without padding,
    and a small batch look as fast as a large one.
    """
    windows: list[list[int]] = []
    for number in count():
        length = max_length if whole else min(_length(number), max_length)
        if windows and length > tokens:
            break
        windows.append([0] * length)
        tokens -= length
    return windows


def _length(number: int) -> int:
    """Tokens of a message: a quantile between two of ``LENGTHS``."""
    place = number * GOLDEN % 1 * (len(LENGTHS) - 1)
    below = LENGTHS[int(place)]
    return round(below + (LENGTHS[int(place) + 1] - below) * (place % 1))


def in_turn(
    works: Mapping[T, Callable[[], object]], longest_s: float = inf
) -> list[tuple[T, float]]:
    """The seconds of each, the best of some rounds in which they take turns.

    What else the machine does only ever slows them, and slows all of a round: a choice by one run
    each would be another one whenever it is busy. What comes after one that took over
    ``longest_s`` in the first round is not tried at all.
    """
    best: dict[T, float] = {}
    begun = perf_counter()
    for number in range(ROUNDS):
        for choice in list(best) or works:
            started = perf_counter()
            works[choice]()
            took = perf_counter() - started
            best[choice] = min(best.get(choice, inf), took)
            if took > longest_s:
                break
        if number and perf_counter() - begun > ENOUGH_ROUNDS_S:
            break
    return list(best.items())


def fastest(choices: Sequence[tuple[T, float]]) -> T:
    """Of precisions and their seconds, the first unless another is well worth it."""
    best, least = choices[0]
    for choice, took in choices[1:]:
        if took * WORTH_IT < least:
            best, least = choice, took
    return best


def budget(threads: int, score: Callable[[int], object], least: float = 0) -> int:
    """The fewest tokens of a batch that are about as fast a token as any.

    score: runs a batch of so many tokens · least: tokens a core, where some step has as many.
    """
    steps = [step for step in STEPS if step >= least] or STEPS[-1:]
    works = {step * threads: partial(score, step * threads) for step in steps}
    if len(works) == 1:
        (tokens,) = works
        score(tokens)
        return tokens
    rates = [(tokens, tokens / took) for tokens, took in in_turn(works, LONGEST_BATCH_S)]
    within = ENOUGH * max(rate for _, rate in rates)
    return next(tokens for tokens, rate in rates if rate >= within)
