"""Many reloads under load: no verdict lost, repeated or mixed up, and memory that stays.

    python -m tests.bench.reloads [--reloads 1000]

Prints how many reloads and verdicts there were, how long a reload took, and the daemon's memory
after a tenth of them and at the end. Ends with 1 where a verdict is wrong.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from filterd.embedded import server_binary
from tests.bench.messages import real_messages
from tests.e2e import reloads
from tests.e2e.daemon import Daemon, Streams
from tests.servers import RedisServer
from tests.waiting import eventually


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fd-") as folder:
        print(json.dumps(measure(Path(folder), options.reloads)))  # noqa: T201


def measure(folder: Path, count: int) -> dict[str, object]:
    """Reload so often, and check every verdict."""
    made, texts = reloads.champions(folder / "artifacts", real_messages()[:400])
    with RedisServer(server_binary(), folder / "redis") as server, server.client() as client:
        streams = Streams(client, "bench")
        given = {"ARTIFACT": made.link, "RELOAD_S": 0.01}
        with Daemon(server.url, "bench", folder / "log", **given) as one:
            eventually(one.ready, within_s=60)
            with reloads.load(streams, texts) as sent:
                seconds, memory = [], []
                for number in range(1, count + 1):
                    began = time.perf_counter()
                    reloads.turn(one, made, number)
                    seconds.append(time.perf_counter() - began)
                    if number % max(1, count // 10) == 0:
                        memory.append(round(reloads.memory_mb(one), 1))
            by_model = reloads.check_verdicts(streams, made, sent)
            return {
                "reloads": int(reloads.reloaded(one)),
                "refused": int(reloads.reloaded(one, "refused")),
                "verdicts": by_model,
                "median_reload_s": round(statistics.median(seconds), 4),
                "memory_mb": memory,
            }


if __name__ == "__main__":
    main()
