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


class Held(Watched):
    """Holds each batch until it is let go; ``begun`` is told of each."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__(classifier)
        self.begun, self.go_on = threading.Semaphore(0), threading.Event()

    def answer(self, works: Sequence[Work]) -> list[Outcome | Work]:
        answers = super().answer(works)
        self.begun.release()
        assert self.go_on.wait(30)
        return answers


async def begins(scorer: Held, works: Sequence[tuple[Work, bool]], least: int) -> int:
    """Batches that a lane begins before any has ended, at least so many; then all are answered."""
    outcomes: list[Outcome] = []
    lanes = Lanes(scorer, 0.0, outcomes.extend, Metrics(CollectorRegistry()))
    for work, alone in works:
        lanes.put(work, alone=alone)
    lanes.end()
    serving = asyncio.create_task(lanes.run())
    for _ in range(least):
        assert await asyncio.to_thread(scorer.begun.acquire, timeout=30)
    await asyncio.sleep(0.1)  # time for one too many
    begun = len(scorer.seen)
    scorer.go_on.set()
    await serving
    assert len(outcomes) == len(works)
    return begun


@pytest.fixture(scope="module")
def narrow() -> Classifier:
    """Batches of two messages at most, on two cores."""
    return Classifier.load(device="cpu", threads=2, max_batch_tokens=30)


def many(scorer: Watched) -> list[Work]:
    """Ten batches."""
    works = prepared(scorer, [f"{MESSAGE} and {number}" for number in range(20)])
    assert all(10 < work.tokens.count <= 15 for work in works)
    return works


def test_a_full_batch_begins_before_another_ends(narrow: Classifier) -> None:
    """And no third: what is not begun can still be part of a larger batch."""
    scorer = Held(narrow)
    assert asyncio.run(begins(scorer, [(work, False) for work in many(scorer)], 2)) == 2


def test_with_one_core_it_waits_for_it() -> None:
    scorer = Held(Classifier.load(device="cpu", threads=1, max_batch_tokens=30))
    assert asyncio.run(begins(scorer, [(work, False) for work in many(scorer)], 1)) == 1


@pytest.mark.parametrize("suspect", [0, 2])
def test_nothing_is_scored_beside_what_may_kill_its_consumer(
    narrow: Classifier, suspect: int
) -> None:
    """The suspect comes first, or behind the first batch."""
    scorer = Held(narrow)
    works = [(work, number == suspect) for number, work in enumerate(many(scorer))]
    assert asyncio.run(begins(scorer, works, 1)) == 1
    assert 1 in [size for size, _ in scorer.seen]


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
