"""A challenger that is too slow, fails, or whose evidence Redis does not take."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from filterd import shadow
from filterd.classifier import Classifier
from filterd.entries import Answer, Entry, Verdict
from filterd.errors import UnavailableError
from filterd.metrics import Metrics
from filterd.shadow import MOST_WAITING, Comparison, Shadow, chosen
from filterd.streams.settling import Settled
from tests.waiting import eventually


class Slow(Classifier):
    """Answers when it is let."""

    def __init__(self, path: Path) -> None:
        super().__init__(Classifier.load(path).engine)
        self.gate = threading.Event()
        self.failures = 0

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        assert self.gate.wait(30)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("out of memory")
        return super().classify(texts)


class Kept:
    """Evidence that is kept, once Redis is back."""

    def __init__(self) -> None:
        self.refusals = 2
        self.disagreements: list[Comparison] = []
        self.counts: Counter[str] = Counter()

    async def keep(self, comparisons: Sequence[Comparison], counts: Counter[str]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise UnavailableError("away")
        self.disagreements += comparisons
        self.counts.update(counts)


def settled(count: int, text: str = "hello") -> Settled:
    answers = tuple(
        Answer(Entry(f"{n}-0", text, None, ()), Verdict("ham", 0.0, 2.0, "old"))
        for n in range(count)
    )
    return Settled(0, answers, (), (), None)


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(eventually, condition)


async def test_what_does_not_fit_is_dropped_and_what_fails_is_survived(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "REPORT_S", 0.01)
    metrics, evidence, slow = Metrics(CollectorRegistry()), Kept(), Slow(tiny)
    slow.failures = 1
    made = Shadow(1.0, metrics, evidence)
    made.watch(settled(5))  # nobody stands in the shadow yet
    made.swap(slow)
    running = asyncio.create_task(made.run())
    made.watch(settled(MOST_WAITING + 100))

    def dropped() -> float:
        return metrics.registry.get_sample_value("filterd_shadow_dropped_total") or 0.0

    assert dropped() == 100
    made.watch(settled(1, "x" * 2_000_000))
    assert dropped() == 101
    slow.gate.set()
    most = MOST_WAITING - shadow.AT_ONCE  # those of the batch that failed
    await until(lambda: evidence.counts.total() == most)
    assert dropped() == 101 + shadow.AT_ONCE
    label = slow.classify(["hello"])[0].label
    result = "same" if label == "ham" else "to_spam"
    assert evidence.counts == {f"old tiny-1 {result}": most}
    assert len(evidence.disagreements) == (0 if label == "ham" else most)
    made.swap(None)
    made.watch(settled(5))
    running.cancel()


def test_a_share_is_the_same_for_everyone_and_grows() -> None:
    ids = [f"{n}-0" for n in range(2000)]
    few, many = ({i for i in ids if chosen(i, share)} for share in (0.1, 0.4))
    assert few < many
    assert 0.07 < len(few) / len(ids) < 0.13
    assert all(chosen(i, 1.0) for i in ids)
    assert not any(chosen(i, 0.0) for i in ids)
