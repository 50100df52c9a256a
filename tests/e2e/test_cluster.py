"""Partitions on a Redis Cluster whose shards die, among daemons that come and go."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from filterd.address import with_cluster
from filterd.feedback import Correction
from filterd.streams.client import open_client
from filterd.streams.connection import connect_blocking
from filterd.streams.feedback import FeedbackStream
from tests.clusters import Cluster
from tests.commands import filterd
from tests.e2e.conftest import MakeDaemon
from tests.servers import RedisServer
from tests.waiting import eventually

PARTITIONS = 4
"""Of these names, on all three shards."""
STREAMS = {
    "INPUT_STREAM": "{sms-*}:in",
    "OUTPUT_STREAM": "{sms-*}:out",
    "DEAD_STREAM": "{sms-*}:dead",
}

Ids = dict[int, list[bytes]]


@pytest.fixture(scope="module")
def cluster(debian_binary: Path) -> Iterator[Cluster]:
    with (
        tempfile.TemporaryDirectory(prefix="fd-") as folder,
        Cluster(debian_binary, Path(folder)) as made,
    ):
        yield made


class Partitions:
    """What the streams of a group hold, partition by partition."""

    def __init__(self, clients: list[redis.Redis], group: str) -> None:
        self.clients, self.group = clients, group

    def publish(self, texts: list[str]) -> Ids:
        """XADD to all in turn, and WAIT."""
        ids: Ids = {}
        for number, client in enumerate(self.clients):
            pipe = client.pipeline(transaction=False)
            for text in texts[number :: len(self.clients)]:
                pipe.xadd(self.input(number), {"text": text})
            pipe.wait(1, 20_000)
            *ids[number], confirmed = pipe.execute()
            assert confirmed == 1
        return ids

    @staticmethod
    def input(number: int) -> str:
        return STREAMS["INPUT_STREAM"].replace("*", str(number))

    def outcomes(self, number: int) -> Counter[bytes]:
        """How many each entry has."""
        found: Counter[bytes] = Counter()
        for kind in ("out", "dead"):
            for _, fields in self.clients[number].xrange(f"{{sms-{number}}}:{kind}"):
                assert fields[b"stream"] == self.input(number).encode()
                found[fields[b"entry"]] += 1
        return found

    def settled(self) -> int:
        """How many have one, everywhere."""
        try:
            return sum(len(self.outcomes(number)) for number in range(len(self.clients)))
        except redis.RedisError:
            return 0

    def pending(self) -> int:
        return sum(
            int(client.xpending(self.input(number), self.group)["pending"])
            for number, client in enumerate(self.clients)
        )


@pytest.fixture
def partitions(cluster: Cluster, prefix: str) -> Iterator[Partitions]:
    url = with_cluster(cluster.url)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connect_blocking(url, Partitions.input(number)))
            for number in range(PARTITIONS)
        ]
        yield Partitions(clients, f"{prefix}-group")
        for client, number in zip(clients, range(PARTITIONS), strict=True):
            client.delete(*(f"{{sms-{number}}}:{kind}" for kind in ("in", "out", "dead")))


def together(first: Ids, second: Ids) -> Ids:
    return {number: first[number] + second[number] for number in first}


def count(ids: Ids) -> int:
    return sum(len(own) for own in ids.values())


def _shards(cluster: Cluster) -> list[RedisServer]:
    return list({(s := cluster.owner(Partitions.input(n))).port: s for n in range(4)}.values())


@pytest.mark.timeout(400)
def test_shards_die_and_daemons_come_and_go(
    cluster: Cluster, partitions: Partitions, daemon_of: MakeDaemon, sample: list[str]
) -> None:
    settings = {
        **STREAMS,
        "PARTITIONS": PARTITIONS,
        "REDIS_CLUSTER": 1,
        "WAIT_REPLICAS": 1,
        "CLAIM_IDLE_S": 3,
    }
    shards = _shards(cluster)
    assert len(shards) == 3
    one = daemon_of(cluster.url, CONSUMER="one", **settings)
    two = daemon_of(cluster.url, CONSUMER="two", **settings)
    ids = partitions.publish(sample * 4)
    eventually(lambda: partitions.settled() > 50, "the streams flow", within_s=60)
    # One shard's primary dies and its replica takes over; a daemon dies with it.
    dead, key = (
        shards[0],
        next(k for k in map(Partitions.input, range(4)) if cluster.owner(k) is shards[0]),
    )
    dead.kill()
    two.kill()
    eventually(lambda: cluster.agreed(key, dead), "the replica is promoted", within_s=90)
    daemon_of(cluster.url, CONSUMER="three", **settings)
    dead.start()
    eventually(cluster.whole, "the cluster is whole", within_s=90)
    ids = together(ids, partitions.publish(sample * 2))
    # Another one dies and is back at once; another daemon leaves in order.
    shards[1].kill()
    shards[1].start()
    assert one.stop() == 0
    eventually(cluster.whole, "the cluster is whole", within_s=90)
    ids = together(ids, partitions.publish(sample))
    eventually(lambda: partitions.settled() >= count(ids), "all settled", within_s=150)
    for number, own in ids.items():
        assert partitions.outcomes(number) == Counter(own)
    eventually(lambda: partitions.pending() == 0, "nothing is pending", within_s=60)
    streams = {name.lower(): value for name, value in STREAMS.items()}
    names = {"redis_url": cluster.url, "redis_cluster": "1", "partitions": str(PARTITIONS)}
    published = filterd("publish", *(f"message {n}" for n in range(8)), **names, **streams)
    assert Counter(line.split("\t")[1] for line in published.out.splitlines()) == {
        Partitions.input(number): 2 for number in range(PARTITIONS)
    }
    audited = filterd("audit", group=partitions.group, **names, **streams)
    assert audited.out.count("each entry is exactly one of these") == PARTITIONS, audited
    assert audited.code == 0


def test_starting_without_saying_that_it_is_a_cluster(cluster: Cluster) -> None:
    first = next(iter(cluster.nodes))
    ended = filterd("run", redis_url=f"redis://127.0.0.1:{first}", http_port="0")
    assert ended.code == 2
    assert "set FILTERD_REDIS_CLUSTER=1" in ended.err.splitlines()[-1]


def test_streams_apart_are_refused(cluster: Cluster) -> None:
    ended = filterd("run", redis_url=cluster.url, redis_cluster="1", http_port="0")
    assert ended.code == 2
    assert "one hash tag" in ended.error


def test_corrections_across_slots(
    cluster: Cluster, partitions: Partitions, daemon_of: MakeDaemon, prefix: str
) -> None:
    said = next(
        name
        for name in (f"{prefix}:said-{number}" for number in range(50))
        if cluster.owner(name) not in {cluster.owner(Partitions.input(n)) for n in (0, 1)}
    )
    names = {"redis_url": cluster.url, "redis_cluster": "1", "partitions": "2"}
    names |= {name.lower(): value for name, value in STREAMS.items()}
    names |= {"feedback_stream": said}
    entry = partitions.clients[0].xadd(Partitions.input(0), {"text": "a message"}).decode()
    by_text = filterd("feedback", "spam", "some text", **names)
    by_entry = filterd("feedback", "ham", "--entry", f"{entry}\t{Partitions.input(0)}", **names)
    elsewhere = filterd("feedback", "ham", "--entry", entry, "--stream", "{other}:in", **names)
    assert "messages are in" in elsewhere.error
    nowhere = filterd("feedback", "ham", "--entry", entry, **names)
    assert (nowhere.code, "needs --stream NAME" in nowhere.err) == (2, True)
    taken_back = filterd("feedback", "--withdraw", by_text.out.strip(), **names)
    assert [by_text.code, by_entry.code, taken_back.code] == [0, 0, 0], (by_entry, taken_back)
    settings = {name.upper(): value for name, value in names.items() if name != "redis_url"}
    one = daemon_of(cluster.url, **{**settings, "PARTITIONS": PARTITIONS})
    posted = one.post("/api/feedback", {"label": "spam", "entry": entry})
    assert posted.status == 201
    inputs = tuple(Partitions.input(number) for number in range(PARTITIONS))
    with open_client(with_cluster(cluster.url), said) as client:
        bare = client.xadd(said, {"label": "ham", "entry": entry, "stream": inputs[0]}).decode()
        homes = dict(zip(inputs, partitions.clients, strict=True))
        found = FeedbackStream(client, said, inputs, 1000, homes=homes).read()
        texts = {word.id: word.text for word in found if isinstance(word, Correction)}
        client.delete(said)
    assert texts[by_entry.out.strip()] == texts[bare] == "a message"
    assert list(texts.values()).count("a message") == 3
