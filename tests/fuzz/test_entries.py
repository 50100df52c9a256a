"""Hostile entries into a running daemon; ``python -m tests.fuzz`` sends a million."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from filterd.classifier import Classifier
from tests.artifacts import tiny_artifact
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Streams
from tests.fuzz.campaign import SETTINGS, SHAPE, Campaign
from tests.fuzz.entries import LIMIT, MEGABYTE, Case, cases
from tests.waiting import eventually


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign's artifact."""
    return tiny_artifact(tmp_path_factory.mktemp("artifact") / "small", config=SHAPE)


@pytest.mark.timeout(300)
def test_each_ends_as_its_fields_deserve(daemon: MakeDaemon, streams: Streams, small: Path) -> None:
    one = daemon(ARTIFACT=small, **SETTINGS)
    campaign = Campaign(one, streams, keep_scores=True)
    found = campaign.run(cases(seed=1), 2000)
    assert found.outcomes.total() == found.published == 2000
    assert set(found.outcomes) == {"verdict", "no-text", "not-utf8", "too-large"}
    assert one.metric("filterd_entries_read_total") == 2000
    assert one.stop() == 0

    texts = [dict(case.fields)[b"text"].decode() for case, _ in found.scores]
    alone = Classifier.load(small).classify(texts)
    worst = max(abs(a.score - b) for a, (_, b) in zip(alone, found.scores, strict=True))
    assert worst < 1e-4, "a verdict depends on its batch mates"


@pytest.mark.timeout(300)
def test_a_megabyte_of_text_is_scored_where_that_is_allowed(
    daemon: MakeDaemon, streams: Streams, small: Path, sample: list[str]
) -> None:
    one = daemon(ARTIFACT=small, MAX_TEXT_BYTES=2 * MEGABYTE)
    before = streams.publish(sample[:5])
    giant = streams.publish(["\u202e\u200b" * (MEGABYTE // 6)])
    after = streams.publish(sample[5:10])
    ids = [*before, *giant, *after]
    eventually(lambda: streams.exactly_once(ids), "all settled", within_s=240)
    assert streams.dead_letters() == []
    assert one.stop() == 0


def test_a_seed_makes_the_same_cases_again() -> None:
    first = list(islice(cases(7), 5000))
    assert first == list(islice(cases(7), 5000))
    assert first != list(islice(cases(8), 5000))
    kinds = Counter(case.kind for case in first)
    assert {"plain", "any bytes", "surrogates", "repeated fields"} <= kinds.keys()


def test_what_is_expected() -> None:
    def expected(*fields: tuple[bytes, bytes]) -> str:
        return Case("", fields).expected

    assert expected((b"text", b"x" * (LIMIT - 4))) == "verdict"
    assert expected((b"text", b"x" * (LIMIT - 3))) == "too-large"
    assert expected((b"text", b"x" * LIMIT), (b"text", b"")) == "verdict"
    assert expected((b"text", b""), (b"text", b"\xed\xa0\x80")) == "not-utf8"
    assert expected((b"Text", b"hi")) == "no-text"
