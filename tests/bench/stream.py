"""Messages a second through Redis into verdicts, against the bare engine on the same messages.

    python -m tests.bench.stream [--artifact DIR] [--messages 20000] [--rounds 3] [--json]
    python -m tests.bench.stream --repeats 0.8      # the memory of texts, on against off
    python -m tests.bench.stream --backlog 1000000  # drained at the rate of 10,000? memory flat?

The bare engine tokenizes and scores in one process with nothing around it; the daemon shares the
same cores with Redis. What is compared runs in turn, and a ratio is taken round by round. Messages
are real ones as they are, and the daemon remembers none, but for ``--repeats``.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from random import Random

import psutil
import redis

from filterd.classifier import Classifier
from filterd.embedded import server_binary
from tests.bench.messages import real_messages
from tests.e2e.daemon import Daemon, Streams
from tests.servers import RedisServer
from tests.waiting import eventually

CHUNK = 512
ONE_AT_A_TIME = 300
WITHIN_S = 3600
SMALL_BACKLOG = 10_000
PUBLISH_AT_ONCE = 5_000

Result = dict[str, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=float)
    parser.add_argument("--backlog", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fd-") as name:
        folders = iter(Path(name) / str(number) for number in range(1000))
        if options.backlog:
            result = backlog(options.artifact, folders, options.backlog)
        elif options.repeats is not None:
            texts = campaign(options.messages, options.repeats)
            result = compare(lambda: repeated(options.artifact, folders, texts), options.rounds)
        else:
            texts = differing(options.messages)
            result = behind_redis(options.artifact, folders, texts, options.rounds)
    if options.json:
        print(json.dumps(result))  # noqa: T201
        return
    for name, value in result.items():
        print(f"{name:28} {value:12.3f}")  # noqa: T201


def differing(count: int) -> list[str]:
    """Real messages, all differing, over and over until there are so many."""
    return list(islice(cycle(dict.fromkeys(real_messages())), count))


def campaign(count: int, repeats: float) -> list[str]:
    """Real messages, of which a share repeats an earlier one; every other one has a number."""
    texts = list(islice(cycle(real_messages()), count))
    rng, found = Random(1), list[str]()
    for number, text in enumerate(texts):
        again = found and rng.random() < repeats
        found.append(rng.choice(found) if again else f"{text} {number}")
    return found


def compare(measure: Callable[[], Result], rounds: int) -> Result:
    """The median of each figure over the rounds."""
    found = [measure() for _ in range(rounds)]
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


def behind_redis(
    artifact: Path | None, folders: Iterator[Path], texts: Sequence[str], rounds: int
) -> Result:
    """The daemon against the bare engine: throughput, and one message at a time."""
    classifier = Classifier.load(artifact)
    classifier.engine.warm_up()

    def measure() -> Result:
        bare = bare_rate(classifier, texts)
        with daemon(artifact, next(folders), DUPLICATE_CACHE=0) as (streams, one):
            settle_all(streams, one, texts[: len(texts) // 10])
            rate = settle_all(streams, one, texts)
            latency_ms = one_at_a_time(streams, texts)
        alone_ms = bare_latency_ms(classifier, texts)
        return {
            "bare_messages_per_s": bare,
            "daemon_messages_per_s": rate,
            "ratio": rate / bare,
            "bare_latency_ms": alone_ms,
            "daemon_latency_ms": latency_ms,
            "added_latency_ms": latency_ms - alone_ms,
        }

    return compare(measure, rounds)


def repeated(artifact: Path | None, folders: Iterator[Path], texts: Sequence[str]) -> Result:
    """The same stream with the memory of texts off and on."""
    rates = []
    for remembered in (0, 10_000):
        with daemon(artifact, next(folders), DUPLICATE_CACHE=remembered) as (streams, one):
            settle_all(streams, one, real_messages()[:CHUNK])
            rates.append(settle_all(streams, one, texts))
    return {"off": rates[0], "on": rates[1], "ratio": rates[1] / rates[0]}


def backlog(artifact: Path | None, folders: Iterator[Path], count: int) -> Result:
    """A short backlog and a long one: rates, and the daemon's memory (MB) while it drains them.

    Memory counts from the end of the short one, when everything has been used once.
    """
    texts = differing(SMALL_BACKLOG)
    settings = {"OUTPUT_MAXLEN": count * 2, "DUPLICATE_CACHE": 0}
    with daemon(artifact, next(folders), **settings) as (streams, one):
        settle_all(streams, one, texts)
        short = settle_all(streams, one, texts)
        process, sizes = psutil.Process(one.process.pid), list[float]()

        def look() -> None:
            sizes.append(process.memory_info().rss / 1e6)

        long = settle_all(streams, one, islice(cycle(texts), count), look)
    return {
        "short_messages_per_s": short,
        "long_messages_per_s": long,
        "ratio": long / short,
        "least_memory_mb": min(sizes),
        "most_memory_mb": max(sizes),
    }


def bare_rate(classifier: Classifier, texts: Sequence[str]) -> float:
    """Messages a second, tokenized and scored in arrival order."""
    started = time.perf_counter()
    for first in range(0, len(texts), CHUNK):
        classifier.engine.score_texts(texts[first : first + CHUNK])
    return len(texts) / (time.perf_counter() - started)


def bare_latency_ms(classifier: Classifier, texts: Sequence[str]) -> float:
    """Median milliseconds for one message at a time."""
    times = []
    for text in texts[:ONE_AT_A_TIME]:
        started = time.perf_counter()
        classifier.engine.score_texts([text])
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


@contextmanager
def daemon(
    artifact: Path | None, folder: Path, **settings: object
) -> Iterator[tuple[Streams, Daemon]]:
    """A ready daemon on a server of its own."""
    given = settings if artifact is None else {"ARTIFACT": artifact, **settings}
    with (
        RedisServer(server_binary(), folder) as server,
        server.client() as client,
        Daemon(server.url, "bench", folder / "log", **given) as one,
    ):
        eventually(one.ready, within_s=60)
        yield Streams(client, "bench"), one


def settle_all(
    streams: Streams,
    one: Daemon,
    texts: Iterator[str] | Sequence[str],
    look: Callable[[], None] = lambda: None,
) -> float:
    """Publish a backlog while the daemon is stopped, let it go on, and measure: messages a second.

    From the first verdict to the last, by the server's clock. look: called while it drains.
    """
    before = streams.outcomes()
    remaining, total = iter(texts), before
    one.signal(signal.SIGSTOP)
    while part := list(islice(remaining, PUBLISH_AT_ONCE)):
        streams.publish(part)
        total += len(part)
    one.signal(signal.SIGCONT)
    last = streams.client.xrevrange(streams.output, count=1)
    after = f"({last[0][0].decode()}" if last else "-"

    def done() -> bool:
        look()
        time.sleep(0.1)  # each look takes the server's time
        return streams.outcomes() >= total

    eventually(done, within_s=WITHIN_S)
    first = streams.client.xrange(streams.output, after, count=1)[0][0]
    final = streams.client.xrevrange(streams.output, count=1)[0][0]
    return (total - before) / (max(1, _ms(final) - _ms(first)) / 1000)


def one_at_a_time(streams: Streams, texts: Sequence[str]) -> float:
    """Median milliseconds from publishing to the verdict, nothing else on the way."""
    client: redis.Redis = streams.client
    times, last = [], client.xrevrange(streams.output, count=1)[0][0]
    for text in texts[:ONE_AT_A_TIME]:
        started = time.perf_counter()
        client.xadd(streams.input, {"text": text})
        reply = client.xread({streams.output: last}, block=10_000)
        times.append(time.perf_counter() - started)
        last = reply[0][1][-1][0]
    return statistics.median(times) * 1000


def _ms(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


if __name__ == "__main__":
    main()
