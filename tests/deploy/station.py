"""A real Prometheus beside a real daemon, with days shortened to seconds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
import yaml

from tests.deploy.files import DEPLOY, RULES
from tests.servers import free_port
from tests.waiting import eventually

# The rules as they are, on a faster clock. Windows keep their order, and what an age is held
# against is shorter; every other threshold is the real one.
WINDOWS = {
    "2m": "6s",
    "5m": "6s",
    "15m": "8s",
    "30m": "8s",
    "1h": "12s",
    "6h": "16s",
    "1d": "60s",
}
AGES = {
    "seconds:max > 300": "seconds:max > 3",
    "_timestamp_seconds > 172800": "_timestamp_seconds > 20",
}
HOLD = "1s"


def shortened(rules: str) -> str:
    """A file of rules on the fast clock. Raises KeyError on a window that is not in the table."""
    rules = re.sub(r"\[(\w+)\]", lambda found: f"[{WINDOWS[found[1]]}]", rules)
    rules = re.sub(r"(?<=offset )(\w+)", lambda found: WINDOWS[found[1]], rules)
    rules = re.sub(r"(?m)^( +for:) \w+$", rf"\1 {HOLD}", rules)
    rules = re.sub(r"(?m)^( +interval:) \w+$", r"\1 1s", rules)
    for real, short in AGES.items():
        rules = rules.replace(real, short)
    return rules


class Prometheus:
    """A Prometheus with the configuration and rules of deploy/, scraping once a second.

    targets: an address for each job of the configuration.
    """

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        self._port = free_port()
        self._folder = folder
        (folder / "rules").mkdir(parents=True)
        for path in RULES:
            (folder / "rules" / path.name).write_text(shortened(path.read_text()))
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"] = [
            {
                "job_name": job["job_name"],
                "static_configs": [{"targets": [targets[job["job_name"]]]}],
            }
            for job in config["scrape_configs"]
        ]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._process: subprocess.Popen[bytes] | None = None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression, now."""
        result: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return result

    def metric_names(self) -> set[str]:
        """Every metric that was ever scraped or recorded."""
        return set(self._get("label/__name__/values"))

    def firing(self) -> set[tuple[str, ...]]:
        """Name, severity and what else tells alerts apart, of those that fire."""
        return {
            (
                labels["alertname"],
                labels["severity"],
                labels.get("kind") or labels.get("reason", ""),
            )
            for labels in (
                alert["labels"]
                for alert in self._get("alerts")["alerts"]
                if alert["state"] == "firing"
            )
        }

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self._port}/-/ready").status == 200
        except OSError:
            return False

    def __enter__(self) -> Self:
        program = shutil.which("prometheus")
        assert program is not None
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(program, "--config.file", str(self._folder / "prometheus.yml")),
                    *("--storage.tsdb.path", str(self._folder / "data")),
                    *("--web.listen-address", f"127.0.0.1:{self._port}"),
                ],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        eventually(self._answers, "Prometheus answers", within_s=60)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)


class Textfile:
    """Serves a folder as a node exporter serves its textfiles."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.prom")))
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.address = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()


class Publisher:
    """A thread that publishes texts over and over, ten times a second; None is no text at all.

    Each has a number at its end, so that no two are equal.
    """

    def __init__(self, url: str, stream: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._stream = stream
        self._texts: Sequence[str | None] = ()
        self._at_once = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def send(self, texts: Sequence[str | None], rate: int) -> None:
        """From now on these, so many a second."""
        self._texts, self._at_once = texts, rate // 10

    def _run(self) -> None:
        position = 0
        while not self._stop.wait(0.1):
            texts, first, position = self._texts, position, position + self._at_once
            try:
                with self._client.pipeline(transaction=False) as pipe:
                    for number in range(first, position):
                        text = texts[number % len(texts)]
                        fields = {"x": ""} if text is None else {"text": f"{text} {number}"}
                        pipe.xadd(self._stream, fields)
                    pipe.execute()
            except redis.RedisError:
                continue  # it is away: that is one of the faults

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(30)
        self._client.close()
