"""One soak from beginning to end: start everything, strike, check, stop, report."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.artifacts import tiny_artifact
from tests.commands import command, environment
from tests.e2e.daemon import Daemon, Streams
from tests.proxy import Proxy
from tests.servers import RedisServer, binary
from tests.soak.ledger import Ledger
from tests.soak.plan import Plan, faults
from tests.soak.publisher import Publisher
from tests.soak.reading import Reader
from tests.soak.report import Report, report
from tests.soak.striking import READY_S, Site, Strike, Striker, name, ready
from tests.soak.watching import SAMPLES, Watcher
from tests.waiting import eventually

PREFIX = "soak"
DURABLE = ("--appendfsync", "always", "--auto-aof-rewrite-min-size", "4mb")
"""Nothing that was answered is forgotten, and what is loaded after a crash stays short."""
END_S = 60.0
TELL_EVERY_S = 30.0

Tell = Callable[[str], None]


def soak(plan: Plan, folder: Path, tell: Tell) -> Report:
    """Run a plan in an empty folder. tell: hears every half minute how it goes."""
    with _site(plan, folder) as site:
        ledger, started = Ledger(), time.monotonic()
        reader = Reader(_client(site.server), site.streams, ledger)
        spared = {name(i): site.daemons[i] for i in range(plan.spared)}
        every_s = max(1.0, plan.seconds / SAMPLES)
        watcher = Watcher(spared, _client(site.server), site.streams, every_s)
        for thread in (reader, watcher, *site.publishers):
            thread.start()
        strikes, problems = _strike(plan, site, ledger, watcher, tell)
        trends = watcher.stop()
        for publisher in site.publishers:
            publisher.stop()
        problems += _finish(plan, site, ledger, reader)
        messages = sum(publisher.confirmed for publisher in site.publishers)
        seconds = time.monotonic() - started
        return report(plan, seconds, messages, ledger, strikes, trends, problems)


@contextmanager
def _site(plan: Plan, folder: Path) -> Iterator[Site]:
    """A server, daemons that reach it by lines of their own, and publishers, not yet started."""
    program = binary(plan.server)
    assert program is not None, f"no {plan.server} server is installed"
    with ExitStack() as stack:
        durable = ("--appendfsync", "always")
        server = stack.enter_context(
            RedisServer(program, folder / "server", tcp=True, config=durable)
        )
        lines = [stack.enter_context(Proxy(server.port)) for _ in range(plan.daemons)]
        settings = _settings(plan, folder)
        daemons = [
            stack.enter_context(
                Daemon(line.url, PREFIX, folder / f"{name(i)}.log", CONSUMER=name(i), **settings)
            )
            for i, line in enumerate(lines)
        ]
        for daemon in daemons:
            eventually(partial(ready, daemon), "the daemon is ready", within_s=READY_S)
        streams = Streams(_client(server), PREFIX)
        count, rate = math.ceil(plan.messages / plan.publishers), plan.rate / plan.publishers
        publishers = [
            Publisher(str(i), lambda: _client(server), streams.input, count, rate, plan.seed)
            for i in range(plan.publishers)
        ]
        yield Site(server, streams.client, streams, daemons, lines, publishers)


def _settings(plan: Plan, folder: Path) -> dict[str, object]:
    settings: dict[str, object] = {
        "CLAIM_IDLE_S": plan.claim_idle_s,
        "INPUT_RETENTION_S": plan.retention_s,
        "OUTPUT_MAXLEN": plan.output_maxlen,
    }
    if plan.artifact == "tiny":
        settings["ARTIFACT"] = tiny_artifact(folder / "tiny")
    elif plan.artifact != "starter":
        settings["ARTIFACT"] = plan.artifact
    return settings


def _strike(
    plan: Plan, site: Site, ledger: Ledger, watcher: Watcher, tell: Tell
) -> tuple[list[Strike], list[str]]:
    """Strike at the times of the plan, and go on until all is struck and published."""
    striker, started, told_s = Striker(site, plan.spared), time.monotonic(), 0.0
    strikes: list[Strike] = []
    coming = faults(plan)
    fault = next(coming, None)
    while fault or sum(publisher.confirmed for publisher in site.publishers) < plan.messages:
        now_s = time.monotonic() - started
        if now_s - told_s > TELL_EVERY_S:
            told_s = now_s
            tell(
                f"{now_s / 60:6.1f} min  entries {ledger.entries:8,}  open {len(ledger.open):5,}  "
                f"faults {len(strikes):4}  broken promises {ledger.broken}  {watcher.latest()}"
            )
        try:
            if fault and now_s >= fault.after_s:
                strikes.append(striker.strike(fault))
                fault = next(coming, None)
            else:
                time.sleep(0.1)
            striker.supervise()
        except AssertionError as error:
            return strikes, [f"after {now_s:.0f} s, {fault}: {error}"]
    return strikes, []


def _finish(plan: Plan, site: Site, ledger: Ledger, reader: Reader) -> list[str]:
    """Let everything be settled, stop the daemons in order, and audit the streams."""
    problems: list[str] = []
    numbers = {publisher.who: publisher.confirmed for publisher in site.publishers}
    try:
        left = -1
        while len(ledger.open) != left and not reader.failure:  # as long as it gets on
            left = len(ledger.open)
            with suppress(AssertionError):
                eventually(lambda: ledger.complete(numbers) or reader.failure, within_s=END_S)
        assert ledger.complete(numbers), "not all is settled"
    except AssertionError as error:
        problems.append(f"{error}: {len(ledger.open)} entries are open")
    reader.stop()
    if reader.failure is not None:
        problems.append(f"the reader failed: {reader.failure!r}")
    for daemon in site.daemons:  # one that is still starting ends by the signal itself
        with suppress(AssertionError):
            eventually(partial(ready, daemon), within_s=READY_S)
        daemon.process.terminate()
    for i, daemon in enumerate(site.daemons):
        if code := daemon.process.wait(READY_S):
            problems.append(f"daemon {i} ended with {code}")
    if pending := site.streams.pending():
        problems.append(f"{pending} entries are pending at the end")
    return problems + _audited(plan, site)


def _audited(plan: Plan, site: Site) -> list[str]:
    """What ``filterd audit`` says of the streams, where it is not content."""
    names = site.streams
    settings = {
        "redis_url": site.server.url,
        "input_stream": names.input,
        "output_stream": names.output,
        "dead_stream": names.dead,
        "group": names.group,
        "output_maxlen": str(plan.output_maxlen),
    }
    done = subprocess.run(
        command("audit"), env=environment(**settings), capture_output=True, text=True, check=False
    )
    return [f"audit: {done.stdout}{done.stderr}"] if done.returncode else []


def _client(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(
        server.url, socket_timeout=60, retry=Retry(NoBackoff(), 0), health_check_interval=0
    )
