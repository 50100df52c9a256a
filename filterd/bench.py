"""``filterd bench``: messages at given rates, and how long each takes to its verdict.

The load is open: messages are meant to leave at random times (Poisson arrivals) that no slow
answer moves, and a latency counts from the time a message was meant to leave until its verdict
was seen. So what the system under load holds up is not left out ("coordinated omission").
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from filterd.entries import DEFAULT_NAMES, PUBLISHER_ID, FieldNames
from filterd.errors import DataError, UnavailableError
from filterd.streams.connection import translated
from filterd.tables import Source

if TYPE_CHECKING:
    import redis

Floats = NDArray[np.float64]
Advance = Callable[[int], None]

SAMPLE = files("filterd") / "sample" / "messages.tsv"
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
MOST_AT_ONCE = 1000
LISTEN_MS = 100
LAG_ALLOWED = 0.95
"""Share of a rate that has to leave here: below it, it is this generator that cannot keep up."""


@dataclass(frozen=True, slots=True)
class Streams:
    """Where messages go, and where they end. names: what their fields are called."""

    input: str
    output: str
    dead: str
    names: FieldNames = DEFAULT_NAMES


@dataclass(frozen=True, slots=True)
class Load:
    """One step: so many messages a second, for so long, and how long to wait for the last verdict.

    repeats: share of messages whose text came before; every other one is made unlike any, also
    those of runs before, which a daemon may remember.
    """

    rate: float
    seconds: float
    wait_s: float = 10.0
    repeats: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a load.

    rate: wanted, messages a second · sent_rate: that left · throughput: outcomes a second, from
    the first meant departure to the last outcome · missing: without an outcome at the end
    latency_ms: by percentile, and ``max``; infinite where what is missing reaches a percentile
    late_ms: the most that a message left later than it was meant to.
    """

    rate: float
    seconds: float
    sent: int
    sent_rate: float
    verdicts: int
    dead_letters: int
    missing: int
    throughput: float
    latency_ms: dict[str, float]
    late_ms: float

    def holds(self, percentile: float, bound_ms: float) -> bool:
        """Whether all arrived, as many left as were meant to, and the latency is in bounds."""
        kept_up = self.sent_rate >= LAG_ALLOWED * self.rate
        return kept_up and not self.missing and self.latency_ms[_name(percentile)] <= bound_ms

    @property
    def fell_behind(self) -> bool:
        """Whether verdicts came more slowly than messages left: what waited grew."""
        return self.throughput < LAG_ALLOWED * self.sent_rate

    def as_json(self) -> dict[str, Any]:
        """Plain values; what is infinite is null."""
        found = asdict(self)
        latency = {k: v if np.isfinite(v) else None for k, v in self.latency_ms.items()}
        return {**found, "latency_ms": latency}


def texts_of(path: Path | None, column: str) -> list[str]:
    """The texts of a file, or of the sample that comes along. Raises DataError for none."""
    if path is None:
        lines = SAMPLE.read_text(encoding="utf-8").splitlines()
        return [line.partition("\t")[2] for line in lines]
    with Source(path, column) as source:
        texts = [row.text for rows in source for row in rows]
    if not texts:
        raise DataError(f"{path} holds no messages")
    return texts


def arrivals(load: Load) -> Floats:
    """When each message is meant to leave, (N,), in seconds from the start, ascending."""
    rng = np.random.default_rng(load.seed)
    expected = load.rate * load.seconds
    gaps = rng.exponential(1 / load.rate, int(expected + 6 * expected**0.5 + 10))
    times: Floats = gaps.cumsum()
    return times[times < load.seconds]


def messages(texts: Sequence[str], load: Load, run_id: str) -> Iterator[str]:
    """Texts without end, of which a share repeats, and the others are unlike any other run's."""
    rng = random.Random(load.seed)  # noqa: S311 - reproducible, not secret
    own = random.Random(run_id)  # noqa: S311 - differs from run to run, not secret
    for number in count():
        text = texts[number % len(texts)]
        yield text if rng.random() < load.repeats else f"{text} {own.randrange(10**9)}"


class Bench:
    """Runs loads on the streams of a daemon. texts: what messages say."""

    def __init__(self, client: redis.Redis, streams: Streams, texts: Sequence[str]) -> None:
        self._client = client
        self._streams = streams
        self._texts = texts

    def run(self, load: Load, advance: Advance = lambda done: None) -> Step:
        """Send a load and wait for its outcomes. Raises UnavailableError where none comes."""
        meant = arrivals(load)
        listener = _Listener(self._client, self._streams, len(meant))
        listener.start()
        try:
            begin = time.perf_counter()
            left = self._send(meant + begin, listener.run_id, load, advance)
            listener.wait(load.wait_s)
        finally:
            listener.stop()
        return _step(load, meant + begin, left, listener)

    def _send(self, meant: Floats, run_id: str, load: Load, advance: Advance) -> Floats:
        """Send each message when it is due, or at once where it is late; when each had left."""
        texts, left, first = messages(self._texts, load, run_id), np.empty(len(meant)), 0
        while first < len(meant):
            now = time.perf_counter()
            due = min(int(np.searchsorted(meant, now, side="right")), first + MOST_AT_ONCE)
            if due == first:
                time.sleep(meant[first] - now)
                continue
            pipeline = self._client.pipeline(transaction=False)
            for number in range(first, due):
                fields = self._streams.names.fields(next(texts), f"{run_id}-{number}")
                pipeline.xadd(self._streams.input, fields)  # type: ignore[arg-type]
            with translated():
                pipeline.execute()
            left[first:due] = time.perf_counter()
            first = due
            advance(first)
        return left


class _Listener(threading.Thread):
    """Reads outcomes and notes when each was seen. run_id: begins the ids of this run."""

    def __init__(self, client: redis.Redis, streams: Streams, expected: int) -> None:
        super().__init__(name="listen", daemon=True)
        self.run_id = f"bench-{uuid4().hex[:12]}"
        self.seen = np.full(expected, np.inf)
        self.verdicts = self.dead_letters = 0
        self.error: UnavailableError | None = None
        self._client = client
        self._own_id = (PUBLISHER_ID, b"field:" + streams.names.publisher_id)
        self._all_seen, self._quit = threading.Event(), threading.Event()
        self._last: dict[Any, Any] = {}
        with translated():
            for stream in (streams.output, streams.dead):
                newest: Any = client.xrevrange(stream, count=1)
                self._last[stream.encode()] = newest[0][0] if newest else b"0-0"
        self._dead = streams.dead.encode()

    def run(self) -> None:
        try:
            while not self._quit.is_set():
                with translated():
                    reply: Any = self._client.xread(self._last, count=MOST_AT_ONCE, block=LISTEN_MS)
                now = time.perf_counter()
                for stream, entries in reply:
                    self._last[stream] = entries[-1][0]
                    self._note(stream == self._dead, entries, now)
        except UnavailableError as error:
            self.error = error
        self._all_seen.set()

    def wait(self, seconds: float) -> None:
        """Until all have been seen, or nothing new was for so long. Raises UnavailableError."""
        known = -1
        while not self._all_seen.is_set() and known < self.verdicts + self.dead_letters:
            known = self.verdicts + self.dead_letters
            self._all_seen.wait(seconds)
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """End the thread."""
        self._quit.set()
        self.join()

    def _note(self, dead: bool, entries: Sequence[Any], now: float) -> None:
        own, prefix = self._own_id[dead], self.run_id.encode() + b"-"
        for _, fields in entries:
            id_ = fields.get(own, b"")
            if not id_.startswith(prefix):
                continue
            number = int(id_[len(prefix) :])
            if np.isfinite(self.seen[number]):
                continue  # a verdict repeats where Redis forgot it
            self.seen[number] = now
            self.dead_letters += dead
            self.verdicts += not dead
        if self.verdicts + self.dead_letters == len(self.seen):
            self._all_seen.set()


def _step(load: Load, meant: Floats, left: Floats, listener: _Listener) -> Step:
    ended = listener.verdicts + listener.dead_letters
    if not ended:
        raise UnavailableError(
            f"none of {len(meant)} messages got a verdict: is a daemon running on these streams? "
            "(filterd run; filterd doctor)"
        )
    latency_ms = np.sort(listener.seen - meant) * 1000
    last = listener.seen[np.isfinite(listener.seen)].max()
    named = {_name(p): round(_percentile(latency_ms, p), 3) for p in PERCENTILES}
    return Step(
        load.rate,
        load.seconds,
        sent=len(meant),
        sent_rate=round(len(meant) / max(load.seconds, left[-1] - meant[0]), 2),
        verdicts=listener.verdicts,
        dead_letters=listener.dead_letters,
        missing=len(meant) - ended,
        throughput=round(ended / max(1e-9, last - meant[0]), 2),
        latency_ms={**named, "max": round(float(latency_ms[-1]), 3)},
        late_ms=round(float((left - meant).max()) * 1000, 3),
    )


def _percentile(ascending: Floats, percent: float) -> float:
    """The smallest value that so many percent do not exceed; one of those measured."""
    rank = int(np.ceil(len(ascending) * percent / 100)) - 1
    return float(ascending[max(0, rank)])


def _name(percentile: float) -> str:
    return f"p{percentile:g}"
