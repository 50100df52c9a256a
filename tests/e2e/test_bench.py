"""``filterd bench`` against a real daemon: what it counts is what happened."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

from filterd.bench import Bench, Load
from filterd.bench import Streams as Names
from tests.commands import filterd
from tests.e2e.conftest import MakeDaemon
from tests.e2e.daemon import Daemon, Streams
from tests.servers import RedisServer


def arguments(redis_url: str, streams: Streams) -> list[str]:
    return [
        *("bench", "--redis-url", redis_url, "--input-stream", streams.input),
        *("--output-stream", streams.output, "--dead-stream", streams.dead),
    ]


def test_what_it_counts_is_what_happened(
    daemon: MakeDaemon, streams: Streams, redis_server: RedisServer, tiny: Path, tmp_path: Path
) -> None:
    one = daemon(ARTIFACT=tiny, MAX_TEXT_BYTES=500)
    _rates_are_measured_written_and_drawn(redis_server.url, streams, tmp_path)
    with redis_server.client() as client:
        names = Names(streams.input, streams.output, streams.dead)
        _dead_letters_count_as_such(Bench(client, names, ["short", "long " * 200]))
        _a_stop_is_in_the_latencies(Bench(client, names, ["hello"]), one)


def _rates_are_measured_written_and_drawn(url: str, streams: Streams, folder: Path) -> None:
    figures, plot = folder / "figures.json", folder / "plot.svg"
    options = ["--rate", "50", "--rate", "100", "--duration", "1", "--wait", "60", "--json"]
    done = filterd(
        *arguments(url, streams), *options, "--output", str(figures), "--plot", str(plot)
    )
    assert done.code == 0, done.err
    steps = [json.loads(line) for line in done.out.splitlines()]
    assert [step["rate"] for step in steps] == [50, 100]
    assert all(step["missing"] == 0 for step in steps)
    assert sum(step["verdicts"] for step in steps) == len(streams.verdicts())
    assert json.loads(figures.read_text())["steps"] == steps
    assert "<svg" in plot.read_text()


def _dead_letters_count_as_such(bench: Bench) -> None:
    step = bench.run(Load(rate=100, seconds=1, wait_s=60))
    assert (step.missing, step.verdicts + step.dead_letters) == (0, step.sent)
    assert step.dead_letters == step.sent // 2


def _a_stop_is_in_the_latencies(bench: Bench, one: Daemon) -> None:
    """Of all that was meant to leave meanwhile, though nothing was answered."""
    one.signal(signal.SIGSTOP)
    go_on = threading.Timer(1.5, one.signal, [signal.SIGCONT])
    go_on.start()
    step = bench.run(Load(rate=100, seconds=1, wait_s=60))
    go_on.join()
    assert step.missing == 0
    assert step.latency_ms["p50"] > 500  # half a second of load was still to come at least
    assert step.latency_ms["max"] > 1000


def test_without_a_daemon_it_says_so_in_a_line(redis_url: str, streams: Streams) -> None:
    options = ["--rate", "20", "--duration", "0.5", "--wait", "0.2"]
    done = filterd(*arguments(redis_url, streams), *options)
    assert done.code == 1
    assert "is a daemon running" in done.error
