"""``filterd demo``: a server, the daemon, and a sample of messages, with their verdicts live.

One thread publishes when a message is due and reads verdicts until the next one is. The daemon
is a process of its own, started as any user would start it.
"""

from __future__ import annotations

import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis

from filterd.demo_daemon import Daemon
from filterd.demo_screen import Judged, Screen, open_screen
from filterd.embedded import embedded_server
from filterd.errors import DataError
from filterd.publish import Message, publish
from filterd.settings import Settings
from filterd.streams.client import open_client
from filterd.tail import Seen, View
from filterd.terminal import write_line

SAMPLE = Path(__file__).parent / "sample" / "messages.tsv"
LAST_VERDICTS_S = 10.0
"""How long the last messages of ``--count`` may take."""
LONGEST_READ_MS = 200
"""So that a signal and a dead daemon are noticed soon."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user asked for. rate: messages a second · directory: None removes all at the end."""

    rate: float
    count: int | None
    directory: Path | None
    port: int
    artifact: Path | None
    device: str


@dataclass(slots=True)
class Tally:
    """What has happened so far. human: labels of what waits for its verdict, by entry id."""

    started: float
    last: float = 0.0
    published: int = 0
    verdicts: int = 0
    agreed: int = 0
    human: dict[str, tuple[str, str]] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)

    def settle(self, seen: Seen) -> Judged | None:
        """Count a verdict; None where it is not on one of our messages."""
        known = self.human.pop(seen.entry, None)
        if known is None:
            return None
        label, text = known
        self.verdicts, self.last = self.verdicts + 1, time.monotonic()
        self.agreed += label == seen.fields["label"]
        published_ms, answered_ms = seen.entry.partition("-")[0], seen.fields["at"]
        self.latencies_ms.append(float(int(answered_ms) - int(published_ms)))
        return Judged(seen.fields["label"], float(seen.fields["score"]), label, text)

    def summary(self) -> str:
        """Messages, rate, latencies and agreement in one line."""
        if not self.verdicts:
            return f"{self.published} messages published, no verdict yet"
        rate, plural = self.verdicts / (self.last - self.started), "s"[self.verdicts == 1 :]
        return (
            f"{self.verdicts} message{plural} · {rate:.1f}/s"
            f" · latency median {percentile(self.latencies_ms, 50):.0f} ms,"
            f" p95 {percentile(self.latencies_ms, 95):.0f} ms"
            f" · {self.agreed / self.verdicts:.1%} as people label them"
        )


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that ``percent`` of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, -int(-percent * len(ordered) // 100) - 1)]


def run_demo(plan: Plan) -> None:
    """Run until a signal, or until ``plan.count`` messages are answered; then stop everything.

    Raises UnavailableError with the daemon's last words where it dies.
    """
    with open_screen() as screen:
        tally = _stage(plan, sample(), screen)
    if tally is not None:
        write_line(tally.summary())


def _stage(plan: Plan, messages: list[tuple[str, str]], screen: Screen) -> Tally | None:
    """Start everything, let messages flow, stop everything; None where a signal came too soon."""
    with ExitStack() as stack:
        stopped = stack.enter_context(_stop_signals())
        folder = plan.directory or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="filterd-demo-"))
        )
        screen.say("starting the server and the daemon …")
        url = stack.enter_context(embedded_server(folder))
        client = stack.enter_context(open_client(url))
        daemon = stack.enter_context(
            Daemon.started(url, folder, plan.port, plan.artifact, plan.device)
        )
        screen.say(f"page: {daemon.page_url}  metrics: {daemon.page_url}metrics  log: {daemon.log}")
        if not daemon.wait_until_ready(stopped):
            return None
        tally = Tally(time.monotonic())
        endless = cycle(messages) if plan.count is None else islice(cycle(messages), plan.count)
        _flow(plan, client, daemon, endless, tally, screen, stopped)
        screen.say("stopping the daemon and the server …")
        return tally


def sample(path: Path = SAMPLE) -> list[tuple[str, str]]:
    """The messages that come along: human label and text."""
    rows = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        label, tab, text = line.partition("\t")
        if label not in ("spam", "ham") or not tab:
            raise DataError(f"{path}, line {number}: not LABEL<TAB>TEXT")
        rows.append((label, text))
    return rows


def _flow(
    plan: Plan,
    client: redis.Redis,
    daemon: Daemon,
    messages: Iterator[tuple[str, str]],
    tally: Tally,
    screen: Screen,
    stopped: Callable[[], bool],
) -> None:
    settings = Settings.model_fields
    view = View(client, settings["output_stream"].default)
    cursor, due, deadline = view.end(), time.monotonic(), None
    while not stopped():
        daemon.check()
        now = time.monotonic()
        while deadline is None and due <= now:
            if (message := next(messages, None)) is None:
                deadline = now + LAST_VERDICTS_S
                break
            _publish(client, settings["input_stream"].default, message, tally)
            due += random.uniform(0.2, 1.8) / plan.rate  # noqa: S311 - a human pace, no secret
        if deadline is not None and (not tally.human or now > deadline):
            return
        pause_ms = LONGEST_READ_MS if deadline else (due - time.monotonic()) * 1000
        for seen in view.after(cursor, max(1, min(int(pause_ms), LONGEST_READ_MS))):
            cursor = seen.cursor
            if judged := tally.settle(seen):
                if tally.verdicts == 1:
                    screen.say(f"spam is what scores {seen.fields['threshold']} or more")
                screen.verdict(judged)
        screen.status(tally.summary(), daemon.page_url)


def _publish(client: redis.Redis, stream: str, message: tuple[str, str], tally: Tally) -> None:
    for ids in publish(client, stream, [[Message(message[1])]]):
        tally.human[ids[0]] = message
        tally.published += 1


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM only set a flag, so that everything is stopped in order."""
    caught: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda got, _: caught.append(got)) for number in numbers]
    try:
        yield lambda: bool(caught)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
