"""``/api`` on a real server, Redis and model: what it says, and what is said to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis

from filterd.classifier import Classifier
from filterd.settings import Settings
from tests.panels import Site, events, open_site, settings_of
from tests.waiting import soon

TEXT = "Grüße, you won"


@pytest.fixture(scope="module")
def classifier(tiny: Path) -> Classifier:
    return Classifier.load(tiny)


@pytest.fixture
def settings(redis_url: str, prefix: str) -> Settings:
    return settings_of(redis_url, prefix)


@pytest.fixture
async def site(settings: Settings, classifier: Classifier) -> AsyncIterator[Site]:
    async with open_site(settings, classifier) as opened:
        yield opened


def fill(client: redis.Redis, settings: Settings, count: int) -> None:
    """Verdicts on texts that are there, spam and ham in turn, scores from 0 up."""
    for number in range(count):
        entry = f"{number + 1}-0"
        label = ("ham", "spam")[number % 2]
        client.xadd(settings.input_stream, {"text": f"{TEXT} {number}"}, id=entry)
        fields = {"entry": entry, "label": label, "score": f"{number / count:.6f}", "sender": "me"}
        client.xadd(settings.output_stream, {**fields, "threshold": "0.5"}, id=entry)


async def daemons_are(site: Site, *names: str) -> bool:
    _, answer = await site.get("/api/status")
    return [one["name"] for one in answer["daemons"]] == list(names)


async def test_status_names_every_daemon_of_the_group(
    site: Site, settings: Settings, classifier: Classifier
) -> None:
    other = settings.model_copy(update={"consumer": "two"})
    async with open_site(other, classifier) as second:
        second.waits_for = ""
        await soon(lambda: daemons_are(site, "one", "two"))
        status, answer = await second.get("/api/status")
    assert status == 200
    (mine,) = [one for one in answer["daemons"] if one["name"] == "two"]
    assert (mine["ready"], mine["artifact"], mine["precision"]) == (True, "tiny-1", "fp32")
    assert answer["group_unknown"] == ""
    await soon(lambda: daemons_are(site, "one"))  # the second said goodbye


async def test_verdicts_by_label_and_score_without_texts(
    site: Site, settings: Settings, client: redis.Redis
) -> None:
    fill(client, settings, 40)
    _, answer = await site.get("/api/verdicts?count=3")
    assert [one["entry"] for one in answer["verdicts"]] == ["40-0", "39-0", "38-0"]
    assert TEXT.split(",")[0] not in json.dumps(answer, ensure_ascii=False)
    assert "sender" not in answer["verdicts"][0]
    _, answer = await site.get("/api/verdicts?label=spam&min=0.2&max=0.5")
    scores = [one["score"] for one in answer["verdicts"]]
    assert scores == sorted((n / 40 for n in range(9, 21, 2)), reverse=True)


async def test_texts_are_shown_where_they_may_be(
    settings: Settings, classifier: Classifier, client: redis.Redis
) -> None:
    fill(client, settings, 2)
    showing = Settings.model_validate({**settings.model_dump(), "show_text": True})
    async with open_site(showing, classifier) as site:
        _, answer = await site.get("/api/verdicts")
    assert [one["text"] for one in answer["verdicts"]] == [f"{TEXT} 1", f"{TEXT} 0"]
    guarded = Settings.model_validate({**showing.model_dump(), "http_token": "right"})
    async with open_site(guarded, classifier) as site:
        for headers, shown in (({}, False), ({"Authorization": "Bearer right"}, True)):
            _, answer = await site.ask("GET", "/api/verdicts", **headers)
            assert ["text" in one for one in answer["verdicts"]] == [shown] * 2
            async with events(site, **headers) as stream:
                first = [await anext(stream) for _ in range(2)]
            assert (TEXT in json.dumps(first, ensure_ascii=False)) is shown


async def test_partitions_are_shown_together(
    settings: Settings, classifier: Classifier, client: redis.Redis, prefix: str
) -> None:
    names = {f"{kind}_stream": f"{{{prefix}-*}}:{kind}" for kind in ("input", "output", "dead")}
    changed = {**settings.model_dump(), **names, "partitions": 2, "show_text": True}
    whole = Settings.model_validate(changed)
    for number in range(4):  # ids are equal in both, as they can be
        tag, id_ = f"{{{prefix}-{number % 2}}}", f"{number // 2 + 1}-0"
        client.xadd(f"{tag}:input", {"text": f"{TEXT} {number}"}, id=id_)
        verdict = {"entry": id_, "label": "ham", "score": "0.1", "stream": f"{tag}:input"}
        client.xadd(f"{tag}:output", verdict, id=id_)
        client.xadd(f"{tag}:dead", {"reason": "no-text"})
    texts = {f"{TEXT} {number}" for number in range(4)}
    async with open_site(whole, classifier) as site:
        _, answer = await site.get("/api/verdicts")
        assert {one["text"] for one in answer["verdicts"]} == texts
        assert answer["unknown"] == ""
        async with events(site) as stream:
            _, hello = await anext(stream)
            _, shown = await anext(stream)
            assert (hello["partitions"], shown["dead"]) == (2, 4)
            assert {one["text"] for one in shown["verdicts"]} == texts
            client.xadd(f"{{{prefix}-0}}:output", {**verdict, "stream": f"{{{prefix}-0}}:input"})
            later: list[Any] = []
            while not later:
                name, event = await anext(stream)
                later += event["verdicts"] if name == "verdicts" else []
            assert [one["stream"] for one in later] == [f"{{{prefix}-0}}:input"]
        said = {"label": "spam", "entry": "2-0", "stream": f"{{{prefix}-1}}:input"}
        assert (await site.ask("POST", "/api/feedback", said))[0] == 201
    ((_, word),) = client.xrange(settings.feedback_stream)
    assert word[b"text"].decode() == f"{TEXT} 3"
    assert word[b"stream"].decode() == said["stream"]


async def test_message_is_tried_and_explained(site: Site, classifier: Classifier) -> None:
    status, answer = await site.ask("POST", "/api/classify", {"text": TEXT})
    (expected,) = classifier.classify([TEXT])
    assert status == 200
    assert (answer["label"], answer["model"]) == (expected.label, expected.model)
    assert abs(answer["score"] - expected.score) < 1e-4
    assert "".join(part["text"] for part in answer["parts"]) == answer["read"] == TEXT


async def test_correction_is_written_and_taken_back(
    site: Site, settings: Settings, client: redis.Redis
) -> None:
    fill(client, settings, 1)
    status, said = await site.ask("POST", "/api/feedback", {"label": "spam", "entry": "1-0"})
    assert status == 201
    status, taken = await site.ask("DELETE", f"/api/feedback/{said['feedback']}")
    assert (status, taken["withdraws"]) == (200, said["feedback"])
    (_, first), (_, second) = client.xrange(settings.feedback_stream)
    assert (first[b"label"], first[b"text"].decode()) == (b"spam", f"{TEXT} 0")
    assert (first[b"entry"], first[b"source"]) == (b"1-0", b"page")
    assert second == {b"withdraw": said["feedback"].encode()}


async def test_correction_says_who_passed_it_on(
    site: Site, settings: Settings, client: redis.Redis
) -> None:
    body = {"label": "ham", "text": TEXT, "source": "abuse desk", "id": "7"}
    status, _ = await site.ask("POST", "/api/feedback", body)
    assert status == 201
    ((_, fields),) = client.xrange(settings.feedback_stream)
    assert (fields[b"source"], fields[b"id"]) == (b"abuse desk", b"7")


async def test_events_tell_what_was_and_then_what_is(
    site: Site, settings: Settings, client: redis.Redis
) -> None:
    fill(client, settings, 3)
    async with events(site) as stream:
        name, hello = await anext(stream)
        assert (name, hello["group"]) == ("hello", settings.group)
        name, shown = await anext(stream)
        assert (name, len(shown["verdicts"]), shown["dead"]) == ("verdicts", 3, 0)
        site.metrics.verdicts.labels("spam").inc(5)
        site.metrics.latency_seconds.observe(0.03)
        client.xadd(settings.output_stream, {"label": "ham", "score": "0.1"}, id="50-0")
        counted, median_ms, later = 0.0, None, []
        while not (counted and later):
            name, event = await anext(stream)
            if name == "tick":
                counted += event["sample"]["spam"]
                median_ms = median_ms or event["sample"]["latency_ms"][0]
            else:
                later += event["verdicts"]
    assert median_ms == pytest.approx(35, abs=16)
    assert [one["cursor"] for one in later] == ["50-0"]  # what was told is not told again
    async with events(site) as stream:
        _, hello = await anext(stream)
    assert sum(sample["spam"] for sample in hello["history"]) == pytest.approx(counted)
