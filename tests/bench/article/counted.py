"""Floating-point operations of a run, counted from shapes, and the machine's peak."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional as F  # noqa: N812 - the name that all of torch's users know

from tests.bench.article.case import Case

PEAK_S = 2.0


def flop(case: Case, name: str) -> float:
    """Floating-point operations of a whole run, by the formulas above."""
    method, blocks, width = case.method, case.config.n_layer, case.config.n_embd
    learned, checked = (
        [min(len(case.tokenizer.encode(m.text)) + 1, case.length + 1) for m in messages]
        if name == "last"
        else [case.length] * len(messages)
        for messages in (case.learned, case.checked)
    )
    steps = case.steps * method.epochs
    looks = math.ceil(steps / method.every) + method.epochs
    most = method.looked_at * method.batch_size
    seen = looks * min(case.steps * method.batch_size, most)

    def whole(t: int) -> float:
        return 24 * t * width**2 + 4 * t * t * width

    def causal(t: int) -> float:
        return 24 * t * width**2 + 2 * t * (t + 1) * width

    def last(t: int) -> float:
        return 4 * t * width**2 + 20 * width**2 + 4 * t * width

    def mean(of: Callable[[int], float], lengths: Sequence[int]) -> float:
        return statistics.fmean(map(of, lengths))

    batched = steps * method.batch_size
    if name == "plain":
        seen += looks * min(len(checked), most)
        return ((blocks + 2) * batched + blocks * seen) * whole(case.length)
    features = (blocks - 1) * sum(map(causal, [*learned, *checked]))
    validated = looks * min(len(checked), most) + method.epochs * len(checked)
    return features + (3 * batched + seen) * mean(last, learned) + validated * mean(last, checked)


def matmul_rate(width: int, rows: int) -> float:
    """Floating-point operations a second in the products of a block, fp32, the median pass."""
    shapes = ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))
    pairs = [(torch.randn(rows, given), torch.randn(made, given)) for given, made in shapes]
    passes, until = [], time.perf_counter() + PEAK_S
    while len(passes) < 3 or time.perf_counter() < until:
        started = time.perf_counter()
        for hidden, weight in pairs:
            F.linear(hidden, weight)
        passes.append(time.perf_counter() - started)
    return 24 * rows * width**2 / statistics.median(passes[1:])
