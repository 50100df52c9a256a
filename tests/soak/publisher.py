"""A publisher: numbered messages at a steady rate, sent again until the server confirms them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from importlib.resources import files

import redis

MOST_AT_ONCE = 32
BURST = 96


class Publisher(threading.Thread):
    """Publishes ``rate`` messages a second, in pipelines of random length, and bursts on demand.

    count: after so many there are bursts alone, until it is stopped.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], redis.Redis],
        stream: str,
        count: int,
        rate: float,
        seed: int,
    ) -> None:
        super().__init__(name=f"publisher-{name}", daemon=True)
        self.who = name.encode()
        self.confirmed = 0
        self._connect = connect
        self._stream = stream
        self._count = count
        self._rate = rate
        self._rng = random.Random(f"{seed}-{name}")
        self._texts = _texts()
        self._burst, self._enough = threading.Event(), threading.Event()

    def burst(self) -> None:
        """Send many at once, now: a fault is about to strike and needs entries in flight."""
        self._burst.set()

    def stop(self) -> None:
        """End with what is confirmed; what is under way may or may not be there."""
        self._enough.set()
        self._burst.set()
        self.join(30)

    def run(self) -> None:
        """Publish; pauses keep the rate, and a burst is made up for by a longer pause."""
        client, begun = self._connect(), time.monotonic()
        while not self._enough.is_set():
            ahead_s = begun + self.confirmed / self._rate - time.monotonic()
            hurry = self._burst.wait(max(0.0, ahead_s) if self.confirmed < self._count else None)
            self._burst.clear()
            size = BURST if hurry else self._rng.randint(1, MOST_AT_ONCE)
            if self._send(client, [self._text() for _ in range(size)]):
                self.confirmed += size

    def _send(self, client: redis.Redis, texts: list[str]) -> bool:
        while not self._enough.is_set():
            with client.pipeline(transaction=False) as pipe:
                for number, text in enumerate(texts, self.confirmed):
                    pipe.xadd(self._stream, {"text": text, "id": b"%s-%d" % (self.who, number)})
                try:
                    pipe.execute()
                except redis.exceptions.RedisError:
                    time.sleep(0.05)
                else:
                    return True
        return False

    def _text(self) -> str:
        """Mostly what people write; now and then nothing, or far more than a model reads."""
        shape = self._rng.random()
        if shape < 0.01:
            return ""
        text = self._rng.choice(self._texts)
        return text * 20 if shape > 0.995 else text


def _texts() -> list[str]:
    sample = (files("filterd") / "sample" / "messages.tsv").read_text(encoding="utf-8")
    return [line.split("\t", 1)[1] for line in sample.splitlines()]
