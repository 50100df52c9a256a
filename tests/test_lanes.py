"""Lanes: which thread scores a batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from filterd.classifier import Classifier
from filterd.entries import Answer, Outcome, RawEntry
from filterd.errors import ArtifactError
from filterd.lanes import Lanes
from filterd.metrics import Metrics
from filterd.scoring import Scorer, Work
from tests.artifacts import CONFIG, tiny_artifact

MESSAGE = "See you at the station at six"


class Watched(Scorer):
    """Notes how many works each batch had, and whether the event loop's thread scored it."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__(classifier, Metrics(CollectorRegistry()), 100_000, 5)
        self.seen: list[tuple[int, bool]] = []

    def answer(self, works: Sequence[Work]) -> list[Outcome | Work]:
        self.seen.append((len(works), threading.current_thread() is threading.main_thread()))
        return super().answer(works)


@pytest.fixture(scope="module")
def starter() -> Classifier:
    """The classifier that comes along."""
    return Classifier.load(device="cpu")


@pytest.fixture
def scorer(starter: Classifier) -> Watched:
    """A scorer with it."""
    return Watched(starter)


def prepared(scorer: Watched, texts: Sequence[str]) -> list[Work]:
    """Work for each text."""
    raws = [RawEntry(f"{n}-0", ((b"text", t.encode()),), len(t)) for n, t in enumerate(texts)]
    return [work for work in scorer.prepare_all(raws) if isinstance(work, Work)]


def run(scorer: Watched, works: Sequence[Work], *, alone: bool = False) -> list[Outcome]:
    """What a lane makes of works that are there at once."""
    outcomes: list[Outcome] = []

    async def served() -> None:
        lanes = Lanes(scorer, 0.0, outcomes.extend, Metrics(CollectorRegistry()))
        for work in works:
            lanes.put(work, alone=alone)
        lanes.end()
        await lanes.run()

    asyncio.run(served())
    assert len(outcomes) == len(works)
    return outcomes


def test_a_short_message_alone_stays_in_the_event_loop(scorer: Watched) -> None:
    (outcome,) = run(scorer, prepared(scorer, [MESSAGE]))
    assert isinstance(outcome, Answer)
    assert scorer.seen == [(1, True)]


@pytest.mark.parametrize("text", [MESSAGE * 20, MESSAGE * 200], ids=["long", "windows"])
def test_a_long_one_goes_to_the_thread(scorer: Watched, text: str) -> None:
    run(scorer, prepared(scorer, [text]))
    assert scorer.seen == [(1, False)]


def test_several_go_to_the_thread(scorer: Watched) -> None:
    run(scorer, prepared(scorer, [MESSAGE, f"{MESSAGE} or seven"]))
    assert scorer.seen == [(2, False)]


def test_what_may_kill_its_consumer_goes_to_the_thread(scorer: Watched) -> None:
    run(scorer, prepared(scorer, [MESSAGE]), alone=True)
    assert scorer.seen == [(1, False)]


class Meeting(Watched):
    """Counts how many batches are scored at once; each waits until ``together`` are, or a while."""

    def __init__(self, classifier: Classifier, together: int, wait_s: float) -> None:
        super().__init__(classifier)
        self.most, self._now, self._together, self._wait_s = 0, 0, together, wait_s
        self._changed = threading.Condition()

    def answer(self, works: Sequence[Work]) -> list[Outcome | Work]:
        with self._changed:
            self._now += 1
            self.most = max(self.most, self._now)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self._together, self._wait_s)
        try:
            return super().answer(works)
        finally:
            with self._changed:
                self._now -= 1


@pytest.mark.parametrize(("threads", "together", "wait_s"), [(1, 2, 0.2), (2, 2, 30), (2, 3, 0.2)])
def test_a_full_batch_begins_before_another_ends(
    threads: int, together: int, wait_s: float
) -> None:
    """With one core to use it waits; and there are never more than two."""
    loaded = Classifier.load(device="cpu", threads=threads, max_batch_tokens=40)
    scorer = Meeting(loaded, together, wait_s)
    run(scorer, prepared(scorer, [f"{MESSAGE} and {number}" for number in range(30)]))
    assert len(scorer.seen) > 6
    assert scorer.most == threads


def test_after_a_reload_the_model_that_scores_decides(
    scorer: Watched, starter: Classifier, tmp_path: Path
) -> None:
    wide = replace(CONFIG, n_embd=CONFIG.n_head * 256)
    large = Classifier.load(tiny_artifact(tmp_path / "large", config=wide), device="cpu")
    assert not large.engine.is_quick(large.engine.tokenize(MESSAGE))
    scorer.swap(large)
    works = prepared(scorer, [MESSAGE])
    scorer.swap(starter)
    run(scorer, works)
    run(scorer, prepared(scorer, [MESSAGE]))
    assert scorer.seen == [(1, False), (1, True)]


def test_a_broken_engine_ends_the_lane_here_too(
    scorer: Watched, starter: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = prepared(scorer, [MESSAGE])
    monkeypatch.setattr(starter.engine, "score", lambda _: 1 / 0)
    with pytest.raises(ExceptionGroup) as caught:
        run(scorer, works)
    assert caught.group_contains(ArtifactError)
    assert scorer.seen == [(1, True)]
