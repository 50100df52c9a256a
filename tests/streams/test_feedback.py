"""The feedback stream on real servers, by Python and by the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from filterd.errors import FeedbackError
from filterd.feedback import Correction, Withdrawal, standing
from filterd.streams.client import open_client
from filterd.streams.feedback import PAGE, FeedbackStream, Rejected
from tests.commands import Ended, filterd
from tests.servers import RedisServer


@pytest.fixture
def stream(redis_url: str, prefix: str) -> Iterator[FeedbackStream]:
    with open_client(redis_url) as client:
        yield FeedbackStream(client, f"{prefix}:feedback", (f"{prefix}:in",), 100)


def test_messages_can_be_on_another_server_than_the_feedback(
    client: redis.Redis, embedded_binary: Path, short_path: Path, prefix: str
) -> None:
    with RedisServer(embedded_binary, short_path) as other, open_client(other.url) as far:
        inputs = (f"{prefix}:0", f"{prefix}:1")
        homes = {inputs[1]: far}
        stream = FeedbackStream(client, f"{prefix}:feedback", inputs, 100, homes=homes)
        for home, text in ((client, "near"), (far, "far")):
            home.xadd(inputs[text == "far"], {"text": text}, id="1-0")
        said = stream.correct(Correction("", "spam", entry="1-0", stream=inputs[1]))
        assert (said.text, said.stream) == ("far", inputs[1])
        for home in inputs:
            client.xadd(stream.stream, {"label": "ham", "entry": "1-0", "stream": home})
        words = [word for word in stream.read() if isinstance(word, Correction)]
    assert [word.text for word in words] == ["far", "near", "far"]


def test_correction_takes_the_message_along(stream: FeedbackStream, prefix: str) -> None:
    entry = stream.client.xadd(f"{prefix}:in", {"text": "Grüße", "id": "own-1"}).decode()
    given = stream.correct(Correction("", "spam", entry=entry, source="page"))
    stream.client.delete(f"{prefix}:in")
    assert stream.client.xrange(stream.stream) == [
        (
            given.id.encode(),
            {
                b"label": b"spam",
                b"text": "Grüße".encode(),
                b"entry": entry.encode(),
                b"id": b"own-1",
                b"source": b"page",
            },
        )
    ]
    assert list(stream.read()) == [given]


def test_what_cannot_be_used_is_refused(stream: FeedbackStream, prefix: str) -> None:
    client = stream.client
    client.xadd(f"{prefix}:in", {"other": "x"}, id="1-0")
    for correction, what in (
        (
            Correction("", "ham", entry="5-0"),
            "message 5-0 is not in .*, or not any more: give its text",
        ),
        (Correction("", "ham", entry="1-0"), "no text"),
        (Correction("", "ham", entry="soon"), "give an entry's id"),
        (Correction("", "ham", entry="1-0", stream="passwords"), "messages are in"),
        (Correction("", "ham", text="x", entry="1-0"), "not both"),
        (Correction("", "ham", text="ü" * 51), "102 bytes, the limit is 100"),
        (Correction("", "ham", text="\udcff"), "not UTF-8"),
    ):
        with pytest.raises(FeedbackError, match=what):
            stream.correct(correction)
    for id_ in ("5-0", "+", ""):
        with pytest.raises(FeedbackError, match=r"no feedback 5-0|give an entry's id"):
            stream.withdraw(id_)
    assert not client.exists(stream.stream)


def test_any_client_may_write(stream: FeedbackStream, prefix: str) -> None:
    client = stream.client
    client.xadd(f"{prefix}:in", {"text": "still there"}, id="1-0")
    for fields in (
        {"label": "spam", "entry": "1-0"},
        {"label": "spam", "entry": "2-0"},
        {"label": "spam", "entry": "1-0", "stream": "elsewhere"},
        {"label": "maybe", "text": "x"},
        {"label": "ham", "text": "still there", "unknown": "field"},
    ):
        client.xadd(stream.stream, fields)
    first, gone, elsewhere, rejected, ham = stream.read()
    assert isinstance(first, Correction)
    assert first.text == "still there"
    assert isinstance(gone, Correction)
    assert gone.text is None
    assert isinstance(elsewhere, Correction)
    assert isinstance(rejected, Rejected)
    assert isinstance(ham, Correction)
    assert standing([first, gone, ham]) == [gone, ham]


def test_reading_goes_on_page_by_page(stream: FeedbackStream) -> None:
    pipeline = stream.client.pipeline()
    for number in range(2 * PAGE + 1):
        pipeline.xadd(stream.stream, {"label": "ham", "text": str(number)}, id=f"1-{number + 1}")
    pipeline.execute()
    read = [word.text for word in stream.read() if isinstance(word, Correction)]
    assert read == [str(number) for number in range(2 * PAGE + 1)]
    assert [word.id for word in stream.read(f"1-{2 * PAGE}")] == [f"1-{2 * PAGE + 1}"]


def test_command(redis_server: RedisServer, client: redis.Redis, prefix: str) -> None:
    def feedback(*arguments: str) -> Ended:
        return filterd(
            "feedback",
            *arguments,
            redis_url=redis_server.url,
            input_stream=f"{prefix}:in",
            feedback_stream=f"{prefix}:feedback",
        )

    entry = client.xadd(f"{prefix}:in", {"text": "Lunch?"}).decode()
    by_entry = feedback("ham", "--entry", entry).out.strip()
    by_text = json.loads(feedback("spam", "Lunch?", "--json").out)
    assert by_text == {
        "feedback": by_text["feedback"],
        "label": "spam",
        "text": "Lunch?",
        "source": "cli",
    }
    taken_back = json.loads(feedback("--withdraw", by_text["feedback"], "--json").out)
    assert taken_back["withdraw"] == by_text["feedback"]
    with open_client(redis_server.url) as reader:
        words = list(FeedbackStream(reader, f"{prefix}:feedback", (f"{prefix}:in",), 100).read())
    stand = standing([word for word in words if isinstance(word, (Correction, Withdrawal))])
    assert [(word.id, word.label, word.source) for word in stand] == [(by_entry, "ham", "cli")]
    refused = feedback("--withdraw", "5-0")
    assert (refused.code, "there is no feedback 5-0" in refused.error) == (1, True)
