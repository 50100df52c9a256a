"""The daemon as the demo runs it: a process, its log, and the end of both."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filterd.errors import UnavailableError
from filterd.settings import PREFIX

LOOPBACK = "127.0.0.1"
START_S = 120.0
"""Importing torch from a cold disk takes long."""
STOP_S = 30.0
POLL_S = 0.05
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks the loopback address itself, whatever proxy the environment names."""
KEPT = frozenset(f"{PREFIX}{name}" for name in ("PRECISION", "THRESHOLD"))
"""Settings of the user's own that the demo's daemon takes over; the others are the demo's."""


class Daemon:
    """A running ``filterd run``."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process, self._port, self.log = process, port, log

    @property
    def page_url(self) -> str:
        """Where its page is; its metrics are at /metrics below that."""
        return f"http://{LOOPBACK}:{self._port}/"

    @classmethod
    @contextmanager
    def started(
        cls, url: str, folder: Path, port: int, artifact: Path | None, device: str
    ) -> Iterator[Daemon]:
        """Start it on a server; on leaving it drains and ends."""
        port, log = _free_port(port), folder / "daemon.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "filterd", "run"],
                env=_environment(url, port, artifact, device),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches the demo alone, which then stops the daemon in order.
                start_new_session=True,
            )
        try:
            yield cls(process, port, log)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def check(self) -> None:
        """Raise UnavailableError with its last line where it is dead."""
        if (code := self._process.poll()) is None:
            return
        lines = self.log.read_text(errors="replace").strip().splitlines()
        last = lines[-1].removeprefix("filterd: ") if lines else f"it exited with {code}"
        raise UnavailableError(f"the daemon ended: {last}", "away")

    def wait_until_ready(self, stopped: Callable[[], bool]) -> bool:
        """Wait until it serves; False where a signal came first. Raises UnavailableError."""
        deadline = time.monotonic() + START_S
        while not stopped():
            self.check()
            if self._is_ready():
                return True
            if time.monotonic() > deadline:
                raise UnavailableError(f"the daemon is not ready after {START_S:.0f} s", "timeout")
            time.sleep(POLL_S)
        return False

    def _is_ready(self) -> bool:
        try:
            address = f"http://{LOOPBACK}:{self._port}/readyz"
            with DIRECT.open(address, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:  # an answer of 503 is one too
            return False


def _environment(url: str, port: int, artifact: Path | None, device: str) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(PREFIX) or name.upper() in KEPT
    }
    own = {"REDIS_URL": url, "HTTP_HOST": LOOPBACK, "HTTP_PORT": str(port), "DEVICE": device}
    if artifact is not None:
        own["ARTIFACT"] = str(artifact)
    return {**inherited, **{PREFIX + name: value for name, value in own.items()}}


def _free_port(wanted: int) -> int:
    """The wanted port, or any free one where it is in use."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise UnavailableError("no port is free on the loopback address", "other")
