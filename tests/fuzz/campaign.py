"""Hostile entries through a real server into a running daemon, each followed to its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import psutil

from filterd.model import ModelConfig
from tests.e2e.daemon import Daemon, Streams
from tests.fuzz.entries import CARRIED, LIMIT, Case

SETTINGS = {
    "MAX_TEXT_BYTES": LIMIT,
    "CARRY_FIELDS": ",".join(CARRIED),
    "INPUT_RETENTION_S": 0,
    "OUTPUT_MAXLEN": 100_000,
}
"""The daemon's, for which ``entries.py`` says what is expected."""

SHAPE = ModelConfig(vocab_size=257, n_positions=256, n_layer=1, n_head=1, n_embd=8)
"""A model so small that what is tried is the path around it."""

CHUNK = 500
CHUNK_BYTES = 4_194_304
MOST_OPEN = 10_000
PAGE = 1000
TELL_EVERY = 20_000
STUCK_S = 120.0
RAW = "return redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])"
"""redis-py makes dicts of entries, which know no repeated names."""


@dataclass
class Found:
    """What became of a campaign's entries."""

    published: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    scores: list[tuple[Case, float]] = field(default_factory=list)
    most_memory_mb: float = 0.0
    seconds: float = 0.0


class Campaign:
    """Publishes cases and checks each outcome; AssertionError where one is not as it must be.

    keep_scores: remember every verdict's score, for few cases only · tell: hears how it goes.
    """

    def __init__(
        self,
        daemon: Daemon,
        streams: Streams,
        *,
        keep_scores: bool = False,
        tell: Callable[[str], object] = len,
    ) -> None:
        self.found = Found()
        self._tell = tell
        self._daemon = daemon
        self._streams = streams
        self._process = psutil.Process(daemon.process.pid)
        self._keep_scores = keep_scores
        self._open: dict[bytes, Case] = {}
        self._last = {streams.output: b"0-0", streams.dead: b"0-0"}

    def run(self, cases: Iterator[Case], count: int) -> Found:
        """Publish ``count`` cases and follow them all to their ends."""
        started, moved = time.monotonic(), time.monotonic()
        left = islice(cases, count)
        while (chunk := self._chunk(left)) or self._open:
            self._publish(chunk)
            while self._open and (len(self._open) > MOST_OPEN or not chunk):
                if self._collect():
                    moved = time.monotonic()
                assert self._daemon.process.poll() is None, self._daemon.log[-2000:]
                assert time.monotonic() < moved + STUCK_S, list(self._open.items())[:3]
            self._collect()
            if self.found.published % TELL_EVERY < len(chunk):
                self._tell(f"{self.found.published:10,} published  {len(self._open):6,} open")
        assert self._streams.pending() == 0
        self.found.seconds = time.monotonic() - started
        return self.found

    def _chunk(self, cases: Iterator[Case]) -> list[Case]:
        chunk, size = [], 0
        for case in cases:
            chunk.append(case)
            size += sum(len(name) + len(value) for name, value in case.fields)
            if len(chunk) == CHUNK or size > CHUNK_BYTES:
                break
        return chunk

    def _publish(self, chunk: list[Case]) -> None:
        with self._streams.client.pipeline(transaction=False) as pipe:
            for case in chunk:
                parts = [part for pair in case.fields for part in pair]
                pipe.execute_command("XADD", self._streams.input, "*", *parts)
            ids = pipe.execute()
        self._open.update(zip(ids, chunk, strict=True))
        self.found.published += len(chunk)
        self.found.kinds.update(case.kind for case in chunk)

    def _collect(self) -> int:
        """Check the outcomes that came since the last time; how many."""
        count = 0
        for stream, check in (
            (self._streams.output, self._judged),
            (self._streams.dead, self._buried),
        ):
            while page := self._page(stream):
                for _, parts in page:
                    check([(n, v) for n, v in zip(parts[::2], parts[1::2], strict=True)])
                count += len(page)
                self._last[stream] = page[-1][0]
        self._streams.client.xtrim(self._streams.dead, minid=self._last[self._streams.dead])
        memory_mb = self._process.memory_info().rss / 1_048_576
        self.found.most_memory_mb = max(self.found.most_memory_mb, memory_mb)
        return count

    def _page(self, stream: str) -> list[Any]:
        client = self._streams.client
        page: list[Any] = client.eval(RAW, 1, stream, b"(" + self._last[stream], PAGE)
        return page

    def _take(self, entry: bytes) -> Case:
        case = self._open.pop(entry, None)
        assert case is not None, f"{entry!r} ended twice, or was never published"
        return case

    def _judged(self, fields: list[tuple[bytes, bytes]]) -> None:
        verdict = dict(fields)
        case = self._take(verdict[b"entry"])
        given = dict(case.fields)
        assert case.expected == "verdict", case
        assert verdict[b"label"] in (b"spam", b"ham")
        assert 0 <= float(verdict[b"score"]) <= 1, case
        for name in (b"id", *(name.encode() for name in CARRIED)):
            assert verdict.get(name) == given.get(name), (case, verdict)
        self.found.outcomes["verdict"] += 1
        if self._keep_scores:
            self.found.scores.append((case, float(verdict[b"score"])))

    def _buried(self, fields: list[tuple[bytes, bytes]]) -> None:
        letter = dict(fields[:5])
        case = self._take(letter[b"entry"])
        assert set(letter) == {b"entry", b"reason", b"detail", b"deliveries", b"at"}
        assert letter[b"reason"].decode() == case.expected, (case, letter)
        kept = tuple((name.removeprefix(b"field:"), value) for name, value in fields[5:])
        assert kept == case.fields, case
        self.found.outcomes[case.expected] += 1
