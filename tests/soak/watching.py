"""Watching a soak's processes and server for growth."""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil
import redis

from tests.e2e.daemon import Daemon, Streams

MEGABYTE = 1024 * 1024
SAMPLES = 720
WARM_UP = 0.2
MOST_GROWTH = 0.05
MOST_CONNECTIONS = 8
"""A pool keeps as many as its tasks ever needed at once, which faults bring about, and no more."""
TOO_SHORT = 50
"""Fewer samples than this say nothing about growth."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A measure when warm and at the end: medians of a fifth of the samples each."""

    name: str
    warm: float
    end: float
    most: float
    samples: int

    @property
    def growth(self) -> float:
        """The share by which it grew."""
        return self.end / self.warm - 1 if self.warm else float(self.end > 0)

    @property
    def grows(self) -> bool:
        """Whether that is too much: a twentieth of what fluctuates, more than one of the rest.

        Connections have a bound instead."""
        if self.samples < TOO_SHORT:
            return False
        if self.name.endswith(("MB", "entries")):
            return self.growth > MOST_GROWTH
        if self.name.endswith("connections"):
            return self.end > MOST_CONNECTIONS
        return self.end > self.warm + 1


def trend(name: str, values: Sequence[float]) -> Trend:
    """What a series does once it is warm: its second fifth against its last."""
    fifth = max(1, int(len(values) * WARM_UP))
    warm = statistics.median(values[fifth : 2 * fifth] or values)
    return Trend(name, warm, statistics.median(values[-fifth:]), max(values), len(values))


class Watcher(threading.Thread):
    """Samples every daemon that may not end, and the server, until it is stopped."""

    def __init__(
        self,
        daemons: Mapping[str, Daemon],
        client: redis.Redis,
        streams: Streams,
        every_s: float,
    ) -> None:
        super().__init__(name="watcher", daemon=True)
        self._daemons = daemons
        self._client = client
        self._streams = streams
        self._every_s = every_s
        self._series: defaultdict[str, list[float]] = defaultdict(list)
        self._enough = threading.Event()

    def stop(self) -> list[Trend]:
        """End, and say what was seen."""
        self._enough.set()
        self.join(30)
        return [trend(name, values) for name, values in self._series.items()]

    def latest(self) -> str:
        """What each daemon's memory was at the last look."""
        series = [(name, values[-1]) for name, values in list(self._series.items())]
        return "  ".join(f"{name} {value:.1f}" for name, value in series if "memory" in name)

    def run(self) -> None:
        """Sample; whatever is away just now is left out."""
        while not self._enough.wait(self._every_s):
            for name, daemon in self._daemons.items():
                try:
                    self._note(name, _of_daemon(daemon))
                except (OSError, AssertionError, psutil.Error):
                    continue
            try:
                self._note("server", self._of_server())
            except redis.exceptions.RedisError:
                continue

    def _note(self, who: str, values: Mapping[str, float]) -> None:
        for what, value in values.items():
            self._series[f"{who}: {what}"].append(value)

    def _of_server(self) -> dict[str, float]:
        client, names = self._client, self._streams
        memory = client.info("memory")["used_memory"]
        groups = client.xinfo_groups(names.input)
        return {
            "memory used, MB": memory / MEGABYTE,
            "keys": client.dbsize(),
            "groups": len(groups),
            "consumers": sum(group["consumers"] for group in groups),
            "clients": client.info("clients")["connected_clients"],
            "input entries": client.xlen(names.input),
            "output entries": client.xlen(names.output),
        }


def _of_daemon(daemon: Daemon) -> dict[str, float]:
    process = psutil.Process(daemon.process.pid)
    if process.status() == psutil.STATUS_STOPPED:
        raise OSError("frozen just now")
    connections = sum(bool(one.raddr) for one in process.net_connections())
    return {
        "memory, MB": process.memory_info().rss / MEGABYTE,
        "descriptors": process.num_fds() - connections,
        "connections": connections,
        "threads": process.num_threads(),
        "tasks": daemon.metric("filterd_tasks"),
    }
