"""Partitions: names that belong together, and commands over several streams of each kind."""

from __future__ import annotations

import pytest
import redis

from filterd.errors import SettingsError, UnavailableError
from filterd.publish import Message, publish_apart
from filterd.recent import Filter, recent
from filterd.settings import Settings
from filterd.streams.names import StreamNames
from filterd.tail import View, following, latest, until_now
from tests.servers import free_port

TOGETHER = {
    "input_stream": "{sms-*}:messages",
    "output_stream": "{sms-*}:verdicts",
    "dead_stream": "{sms-*}:dead",
}


def test_each_partition_has_streams_of_its_number() -> None:
    found = StreamNames.all_of(Settings.load(partitions=3, **TOGETHER))
    assert [names.input for names in found] == [f"{{sms-{number}}}:messages" for number in range(3)]
    assert found[2].dead == "{sms-2}:dead"
    assert all(names.partitioned for names in found)
    (alone,) = StreamNames.all_of(Settings.load())
    assert not alone.partitioned


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ({"partitions": 2}, "{sms-*}:messages: FILTERD_INPUT_STREAM is filterd:messages"),
        ({"partitions": 2, **TOGETHER, "dead_stream": "{sms-*}-*"}, "FILTERD_DEAD_STREAM is"),
        ({"partitions": 2, **TOGETHER, "dead_stream": "{x-*}:dead"}, "one hash tag"),
        ({"input_stream": "messages-*"}, "* stands inside a hash tag"),
        ({"redis_cluster": True}, "FILTERD_OUTPUT_STREAM={sms}:verdicts"),
        ({"redis_cluster": True, "redis_url": "unix:///run/redis.sock"}, "FILTERD_REDIS_URL: "),
    ],
)
def test_names_that_are_apart_are_refused(given: dict[str, object], fix: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load(**given)
    assert fix in str(refused.value)


def test_one_partition_can_be_named_alone() -> None:
    one = Settings.load(**{k: name.replace("*", "1") for k, name in TOGETHER.items()})
    assert [names.input for names in StreamNames.all_of(one)] == ["{sms-1}:messages"]


def test_messages_go_to_all_and_equal_ids_together(client: redis.Redis, prefix: str) -> None:
    targets = [(client, f"{prefix}:{number}") for number in range(3)]
    anonymous = [Message(str(number)) for number in range(6)]
    (said,) = publish_apart(targets, [anonymous])
    assert [line.split("\t")[1] for line in said] == [f"{prefix}:{n % 3}" for n in range(6)]
    for line, message in zip(said, anonymous, strict=True):
        entry, stream = line.split("\t")
        ((_, fields),) = client.xrange(stream, entry, entry)
        assert fields[b"text"].decode() == message.text
    twice = list(publish_apart(targets, [[Message("a", "order-17")], [Message("b", "order-17")]]))
    assert len({line.split("\t")[1] for lines in twice for line in lines}) == 1


def test_verdicts_of_all_partitions_are_shown(client: redis.Redis, prefix: str) -> None:
    views = [View(client, f"{prefix}:{number}") for number in range(3)]
    for at in range(1, 7):
        client.xadd(f"{prefix}:{at % 3}", {"entry": f"{at}-0"}, id=f"{at}-0")
    assert [seen.entry for seen in latest(views, 4)] == ["3-0", "4-0", "5-0", "6-0"]
    whole = [seen.entry for chunk in until_now(views, ["0", "0", "0"]) for seen in chunk]
    assert sorted(whole) == [f"{at}-0" for at in range(1, 7)]

    def add(_: float) -> None:
        client.xadd(f"{prefix}:1", {"entry": "9-0"}, id="9-0")

    chunks = following(views, [view.end() for view in views], add)
    assert [seen.entry for seen in next(chunks)] == ["9-0"]


def test_the_newest_of_all_partitions_are_found(client: redis.Redis, prefix: str) -> None:
    views = [View(client, f"{prefix}:{number}", f"{prefix}:{number}:in") for number in range(3)]
    for at in range(1, 31):
        client.xadd(f"{prefix}:{at % 3}:in", {"text": f"message {at}"}, id=f"{at}-0")
        fields = {"entry": f"{at}-0", "score": f"{at / 100}", "label": ("ham", "spam")[at % 2]}
        client.xadd(f"{prefix}:{at % 3}", fields, id=f"{at}-0")
    newest = recent(views, Filter(), 4)
    assert [seen.text for seen in newest.verdicts] == [f"message {at}" for at in (30, 29, 28, 27)]
    few = recent(views, Filter("spam", 0.05, 0.1), 10)
    assert [seen.entry for seen in few.verdicts] == ["9-0", "7-0", "5-0"]
    assert newest.unknown == few.unknown == ""


def test_a_partition_that_is_away_hides_no_other(client: redis.Redis, prefix: str) -> None:
    away = redis.Redis(port=free_port())
    client.xadd(f"{prefix}:0", {"entry": "1-0", "score": "0.5"}, id="1-0")
    views = [View(client, f"{prefix}:0"), View(away, f"{prefix}:1")]
    found = recent(views, Filter(), 4)
    assert [seen.entry for seen in found.verdicts] == ["1-0"]
    assert found.unknown.startswith("1 of 2 partitions: Redis cannot be reached")
    with pytest.raises(UnavailableError):
        recent(views[1:], Filter(), 4)
