"""Striking: every fault hits a daemon, or its server, while that daemon holds entries."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psutil
import redis

from tests.e2e.daemon import Daemon, Streams
from tests.proxy import Proxy
from tests.servers import RedisServer
from tests.soak.plan import ENDS_A_DAEMON, Fault, Kind
from tests.soak.publisher import Publisher
from tests.waiting import eventually

CATCH_S = 120.0
READY_S = 300.0
SETTLED_DOWN_S = 0.02
"""What a stopped daemon had sent already is through by then."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that struck. held: entries that its daemon held at that moment."""

    kind: Kind
    held: int


@dataclass(frozen=True, slots=True)
class Site:
    """All that faults can strike. lines: one for each daemon, between it and the server."""

    server: RedisServer
    client: redis.Redis
    streams: Streams
    daemons: Sequence[Daemon]
    lines: Sequence[Proxy]
    publishers: Sequence[Publisher]


class Striker:
    """Carries out faults, one at a time, and puts back what they took away."""

    def __init__(self, site: Site, spared: int) -> None:
        self._site = site
        self._spared = spared
        self._act: dict[Kind, Callable[[Fault], None]] = {
            "kill": self._kill,
            "terminate": self._terminate,
            "freeze": lambda fault: time.sleep(fault.lasts_s),
            "cut": lambda fault: self._cut(fault.daemon),
            "stall": self._stall,
            "client-kill": lambda _: self._kill_clients(),
            "redis-restart": lambda fault: self._server_away(fault, self._site.server.stop),
            "redis-crash": lambda fault: self._server_away(fault, self._site.server.kill),
        }

    def strike(self, fault: Fault) -> Strike:
        """Wait until the daemon holds entries, stop it there, strike, and let it go on.

        Where it is still starting, the next one of those that may be struck so is struck instead.
        """
        fault = replace(fault, daemon=eventually(lambda: self._target(fault), within_s=READY_S) - 1)
        cutting = fault.kind == "cut"
        with self._caught(fault.daemon, connected=cutting) as held:
            self._act[fault.kind](fault)
        if fault.kind == "stall":  # held up while it runs, or it would notice nothing
            time.sleep(fault.lasts_s)
            self._site.lines[fault.daemon].flow()
        return Strike(fault.kind, held)

    def supervise(self) -> None:
        """Start again what ended because it found no Redis at its start; else nothing may end."""
        for number, daemon in enumerate(self._site.daemons):
            if code := daemon.process.poll():
                last = daemon.log.splitlines()[-1]
                assert code == 1, f"daemon {number} ended with {code}"
                assert last.startswith("filterd: Redis "), f"daemon {number} ended: {last}"
                daemon.start()

    def _target(self, fault: Fault) -> int:
        """One more than the number of a daemon that is ready; 0 where none is."""
        self.supervise()
        count = len(self._site.daemons)
        first = self._spared if fault.kind in ENDS_A_DAEMON else 0
        order = [*range(fault.daemon, count), *range(first, fault.daemon)]
        able = [number for number in order if ready(self._site.daemons[number])]
        if fault.kind in ENDS_A_DAEMON and len(able) < len(order):
            return 0  # one after the other, or nobody would be left to work
        return able[0] + 1 if able else 0

    @contextmanager
    def _caught(self, number: int, *, connected: bool) -> Iterator[int]:
        """A daemon stopped while it holds entries, and, to be cut off, while it has a line."""
        daemon, line = self._site.daemons[number], self._site.lines[number]
        deadline = time.monotonic() + CATCH_S
        while not (held := self._stop_holding(number)) or (connected and not line.connections):
            assert time.monotonic() < deadline, f"daemon {number} never holds an entry"
            daemon.signal(signal.SIGCONT)
        try:
            yield held
        finally:
            if daemon.process.poll() is None:
                daemon.signal(signal.SIGCONT)

    def _stop_holding(self, number: int) -> int:
        """Stop a daemon; entries that it holds. Where there are none, it goes on."""
        for publisher in self._site.publishers:
            publisher.burst()
        process = self._site.daemons[number].process
        for _ in range(200):
            if self._held(number):
                break
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        time.sleep(SETTLED_DOWN_S)
        if held := self._held(number):
            return held
        process.send_signal(signal.SIGCONT)
        time.sleep(random.uniform(0, 0.05))
        return 0

    def _held(self, number: int) -> int:
        site = self._site
        rows = site.client.xpending_range(
            site.streams.input, site.streams.group, "-", "+", 1000, name(number)
        )
        return len(rows)

    def _kill(self, fault: Fault) -> None:
        daemon = self._site.daemons[fault.daemon]
        daemon.kill()
        time.sleep(fault.lasts_s)
        daemon.start()

    def _terminate(self, fault: Fault) -> None:
        daemon = self._site.daemons[fault.daemon]
        daemon.process.terminate()
        daemon.signal(signal.SIGCONT)
        code = daemon.process.wait(READY_S)
        assert code == 0, f"daemon {fault.daemon} ended with {code} on SIGTERM"
        daemon.start()

    def _cut(self, number: int) -> None:
        assert self._site.lines[number].cut(), f"daemon {number} has no connection"

    def _stall(self, fault: Fault) -> None:
        self._site.lines[fault.daemon].stall()

    def _kill_clients(self) -> None:
        """All at once, but for one's own: daemons, publishers, whoever watches."""
        client = self._site.client
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _server_away(self, fault: Fault, leave: Callable[[], None]) -> None:
        leave()
        time.sleep(fault.lasts_s)
        self._site.server.start()


def name(number: int) -> str:
    """The consumer name of a daemon."""
    return f"daemon-{number}"


def ready(daemon: Daemon) -> bool:
    """Whether a daemon is ready: not where it has ended, or is too busy to say so."""
    try:
        return daemon.process.poll() is None and daemon.ready()
    except TimeoutError:
        return False
