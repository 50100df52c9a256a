"""Equal texts are scored once, and remembered within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event

import pytest
from prometheus_client import CollectorRegistry

from filterd import artifact
from filterd.classifier import Classifier
from filterd.duplicates import Duplicates, text_key
from filterd.engine import Engine, Scores, Tokens
from filterd.entries import Answer, Outcome, RawEntry, Verdict
from filterd.metrics import Metrics
from filterd.scoring import Scorer, Work


class Counting(Engine):
    """Counts what it is asked to tokenize and to score."""

    tokenized = scored = 0

    def tokenize(self, text: str) -> Tokens:
        self.tokenized += 1
        return super().tokenize(text)

    def score(self, batch: Sequence[Tokens]) -> Scores:
        self.scored += len(batch)
        return super().score(batch)


class Daemon:
    """A scorer, what it counts, and entries with ids of their own."""

    def __init__(self, tiny: Path, remembered: int) -> None:
        self.engine = Counting(artifact.load(tiny))
        self.registry = CollectorRegistry()
        self.scorer = Scorer(
            Classifier(self.engine), Metrics(self.registry), 1000, 5, duplicates=remembered
        )
        self.read = 0

    def take(self, *texts: str) -> tuple[list[Work], list[Outcome]]:
        """One read: what is to be scored, and what has ended already."""
        raws = [
            RawEntry(f"{self.read + n}-0", ((b"text", text.encode()), (b"id", b"%d" % n)), 9)
            for n, text in enumerate(texts)
        ]
        self.read += len(texts)
        prepared = self.scorer.prepare_all(raws)
        works = [item for item in prepared if isinstance(item, Work)]
        return works, [item for item in prepared if not isinstance(item, Work)]

    @property
    def hits(self) -> float | None:
        """filterd_duplicate_hits_total."""
        return self.registry.get_sample_value("filterd_duplicate_hits_total")


def verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes if isinstance(outcome, Answer)]


def test_equal_texts_of_a_batch_are_scored_once_and_each_keeps_its_own_fields(tiny: Path) -> None:
    daemon = Daemon(tiny, 10)
    works, _ = daemon.take("win", "lunch", "win", "win")
    outcomes = daemon.scorer.answer(works)
    assert [outcome.entry_id for outcome in outcomes] == ["0-0", "1-0", "2-0", "3-0"]
    assert [o.entry.publisher_id for o in outcomes if isinstance(o, Answer)] == [
        *(b"0", b"1", b"2", b"3")
    ]
    found = verdicts(outcomes)
    assert found[0] == found[2] == found[3] != found[1]
    assert (daemon.engine.tokenized, daemon.engine.scored, daemon.hits) == (2, 2, 2)


def test_a_remembered_text_is_neither_tokenized_nor_scored(tiny: Path) -> None:
    daemon = Daemon(tiny, 10)
    first = verdicts(daemon.scorer.answer(daemon.take("win")[0]))
    works, ended = daemon.take("win", "lunch")
    assert [work.entry.text for work in works] == ["lunch"]
    assert verdicts(ended) == first
    assert (daemon.engine.tokenized, daemon.engine.scored, daemon.hits) == (2, 1, 1)


def test_what_was_scored_while_it_waited_is_not_scored_again(tiny: Path) -> None:
    daemon = Daemon(tiny, 10)
    early, late = daemon.take("win")[0], daemon.take("win")[0]
    assert verdicts(daemon.scorer.answer(early)) == verdicts(daemon.scorer.answer(late))
    assert (daemon.engine.scored, daemon.hits) == (1, 1)


@pytest.mark.parametrize("fails", [False, True])
def test_what_another_thread_scores_is_waited_for(tiny: Path, fails: bool) -> None:
    """And scored here where the other one could not."""
    daemon = Daemon(tiny, 10)
    works = [daemon.take("win", "win", other)[0] for other in ("lunch", "dinner")]
    scoring, go_on, score = Event(), Event(), daemon.engine.score

    def held(batch: Sequence[Tokens]) -> Scores:
        if not scoring.is_set():
            scoring.set()
            assert go_on.wait(30)
            if fails:
                raise RuntimeError
        return score(batch)

    daemon.engine.score = held  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(daemon.scorer.answer, works[0])
        assert scoring.wait(30)
        second = threads.submit(daemon.scorer.answer, works[1])
        assert not wait([second], timeout=0.1).done
        go_on.set()
        found = [verdicts(answers.result(30)) for answers in (first, second)]
    assert [len(each) for each in found] == [3, 3]
    assert len({verdict.score for each in found for verdict in each[:2]}) == 1
    assert len({verdict.score for each in found for verdict in each}) == 3
    if not fails:
        assert (daemon.engine.scored, daemon.hits) == (3, 3)


def test_a_size_of_nought_scores_each_anew(tiny: Path) -> None:
    daemon = Daemon(tiny, 0)
    for _ in range(2):
        daemon.scorer.answer(daemon.take("win", "win")[0])
    assert (daemon.engine.tokenized, daemon.engine.scored, daemon.hits) == (4, 4, 0)


def test_another_artifact_version_does_not_answer_for_this_one(tiny: Path) -> None:
    daemon = Daemon(tiny, 10)
    daemon.scorer.answer(daemon.take("win")[0])
    other = Engine(artifact.load())
    daemon.scorer.classifier = Classifier(other)
    works, ended = daemon.take("win")
    assert not ended
    assert verdicts(daemon.scorer.answer(works))[0].model == other.manifest.version


@pytest.mark.parametrize("most", [1, 3])
def test_the_longest_unasked_goes_first(most: int) -> None:
    kept = Duplicates(most)
    verdict = Verdict.decide(0.5, 0.5, "v")
    keys = [text_key(str(n), "v") for n in range(most + 1)]
    for key in keys[:most]:
        kept.remember(key, verdict)
    assert kept.recall(keys[0]) is verdict  # asked for now, so the second is the oldest
    kept.remember(keys[most], verdict)
    assert len(kept) == most
    gone = keys[1 % most]
    assert [key for key in keys if kept.recall(key) is None] == [gone]


def test_keys_tell_texts_and_versions_apart() -> None:
    assert len({text_key(t, v) for t in ("", "a", "b") for v in ("1", "2")}) == 6
