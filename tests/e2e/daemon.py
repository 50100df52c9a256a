"""A real daemon process for tests, and what its streams hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import free_port


class Daemon:
    """``filterd run`` in a process of its own. settings: without the prefix ``FILTERD_``."""

    def __init__(self, url: str, prefix: str, log: Path, **settings: object) -> None:
        self.port = free_port()
        self._log = log
        given = {
            "REDIS_URL": url,
            "HTTP_PORT": self.port,
            "GROUP": f"{prefix}-group",
            "INPUT_STREAM": f"{prefix}:in",
            "OUTPUT_STREAM": f"{prefix}:out",
            "DEAD_STREAM": f"{prefix}:dead",
            "CONSUMER": "one",
            "PRECISION": "fp32",  # auto would pick by timing where a CPU multiplies bf16 itself
            **settings,
        }
        self._environment = {f"FILTERD_{name}": str(value) for name, value in given.items()}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, without waiting."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "filterd", "run"],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text()

    def ready(self) -> bool:
        """What /readyz answers; False before it listens."""
        assert self.process.poll() is None, self.log
        try:
            return self.get("/readyz").status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def get(self, path: str) -> Any:
        """An HTTP GET."""
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5)

    def post(self, path: str, body: object) -> Any:
        """An HTTP POST of JSON."""
        return urllib.request.urlopen(
            urllib.request.Request(
                f"http://127.0.0.1:{self.port}{path}",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            ),
            timeout=5,
        )

    def metric(self, name: str, **labels: str) -> float:
        """The value of a series."""
        text = self.get("/metrics").read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        raise AssertionError(f"no series {name} {labels}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(30)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)


class Streams:
    """The streams of one test."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self.client = client
        self.input, self.output, self.dead = f"{prefix}:in", f"{prefix}:out", f"{prefix}:dead"
        self.group = f"{prefix}-group"

    def publish(self, texts: Sequence[str | bytes]) -> list[bytes]:
        """XADD each text; the entries' ids."""
        pipe = self.client.pipeline(transaction=False)
        for number, text in enumerate(texts):
            pipe.xadd(self.input, {"text": text, "id": f"m{number}"})
        ids: list[bytes] = pipe.execute()
        return ids

    def verdicts(self) -> list[dict[bytes, bytes]]:
        """All verdicts."""
        return [fields for _, fields in self.client.xrange(self.output)]

    def dead_letters(self) -> list[dict[bytes, bytes]]:
        """All dead letters."""
        return [fields for _, fields in self.client.xrange(self.dead)]

    def outcomes(self) -> int:
        """How many entries have ended."""
        verdicts = self.client.xlen(self.output) if self.client.type(self.output) != b"list" else 0
        return int(verdicts) + int(self.client.xlen(self.dead))

    def pending(self) -> int:
        """Entries delivered and not settled."""
        return int(self.client.xpending(self.input, self.group)["pending"])

    def exactly_once(self, ids: Sequence[bytes]) -> bool:
        """Whether every entry has one verdict or dead letter, and none is pending."""
        found = Counter(fields[b"entry"] for fields in self.verdicts() + self.dead_letters())
        assert max(found.values(), default=1) == 1, [k for k, n in found.items() if n > 1][:5]
        assert found.keys() <= set(ids)
        return found.keys() == set(ids) and self.pending() == 0
