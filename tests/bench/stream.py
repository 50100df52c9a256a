"""Messages a second through Redis into verdicts, against the bare engine on the same messages.

    python -m tests.bench.stream [--artifact DIR] [--messages 20000] [--rounds 3] [--json]

The bare engine tokenizes and scores in one process with nothing around it; the daemon shares the
same cores with Redis. Both run in turn, and the ratio is taken round by round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import redis

from filterd.classifier import Classifier
from filterd.embedded import server_binary
from tests.bench.messages import real_messages
from tests.e2e.daemon import Daemon, Streams
from tests.servers import RedisServer
from tests.waiting import eventually

CHUNK = 512
ONE_AT_A_TIME = 300


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts = list(islice(cycle(real_messages()), options.messages))
    classifier = Classifier.load(options.artifact)
    classifier.engine.warm_up()
    rounds = []
    with tempfile.TemporaryDirectory(prefix="fd-") as folder:
        for number in range(options.rounds):
            bare = bare_rate(classifier, texts)
            behind, latency_ms = daemon_rate(Path(folder) / str(number), options.artifact, texts)
            rounds.append({"bare": bare, "behind": behind, "latency_ms": latency_ms})
    alone_ms = bare_latency_ms(classifier, texts)
    result = {
        "bare_messages_per_s": statistics.median(r["bare"] for r in rounds),
        "daemon_messages_per_s": statistics.median(r["behind"] for r in rounds),
        "ratio": statistics.median(r["behind"] / r["bare"] for r in rounds),
        "bare_latency_ms": alone_ms,
        "daemon_latency_ms": statistics.median(r["latency_ms"] for r in rounds),
    }
    if options.json:
        print(json.dumps(result))  # noqa: T201
        return
    for name, value in result.items():
        print(f"{name:24} {value:10.3f}")  # noqa: T201


def bare_rate(classifier: Classifier, texts: list[str]) -> float:
    """Messages a second, tokenized and scored in arrival order."""
    started = time.perf_counter()
    for first in range(0, len(texts), CHUNK):
        classifier.engine.score_texts(texts[first : first + CHUNK])
    return len(texts) / (time.perf_counter() - started)


def bare_latency_ms(classifier: Classifier, texts: list[str]) -> float:
    """Median milliseconds for one message at a time."""
    times = []
    for text in texts[:ONE_AT_A_TIME]:
        started = time.perf_counter()
        classifier.engine.score_texts([text])
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def daemon_rate(folder: Path, artifact: Path | None, texts: list[str]) -> tuple[float, float]:
    """Messages a second from a backlog, and median milliseconds for one at a time."""
    given = {} if artifact is None else {"ARTIFACT": artifact}
    with RedisServer(server_binary(), folder) as server, server.client() as client:
        streams = Streams(client, "bench")
        one = Daemon(server.url, "bench", folder / "log", **given)
        with one:
            eventually(one.ready, within_s=60)
            before = len(texts) // 10
            streams.publish(texts[:before])
            eventually(lambda: streams.outcomes() == before, within_s=600)
            streams.publish(texts)
            total = before + len(texts)
            eventually(lambda: streams.outcomes() == total, within_s=600)
            times = [int(id_.partition(b"-")[0]) for id_, _ in client.xrange(streams.output)]
            window = times[before + len(texts) // 10 :]  # in full swing, publishing done
            rate = (len(window) - 1) / ((window[-1] - window[0]) / 1000)
            return rate, _latency_ms(client, streams, texts)


def _latency_ms(client: redis.Redis, streams: Streams, texts: list[str]) -> float:
    times, last = [], client.xrevrange(streams.output, count=1)[0][0]
    for text in texts[:ONE_AT_A_TIME]:
        started = time.perf_counter()
        client.xadd(streams.input, {"text": text})
        reply = client.xread({streams.output: last}, block=10_000)
        times.append(time.perf_counter() - started)
        last = reply[0][1][-1][0]
    return statistics.median(times) * 1000


if __name__ == "__main__":
    main()
