"""Nothing secret or personal is said: not in logs, errors, metrics, pages, process titles."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.commands import command, environment
from tests.e2e.daemon import Daemon, Streams
from tests.proxy import Proxy
from tests.servers import RedisServer
from tests.waiting import eventually

PASSWORD = "hush-4711-password"  # noqa: S105
MARK = "swordfish"
"""Stands in every text and every carried value."""
PATHS = ("/", "/metrics", "/healthz", "/readyz", "/api/status", "/api/verdicts", "/nothing")


@pytest.fixture
def locked(embedded_binary: Path, prefix: str) -> Iterator[tuple[RedisServer, Streams]]:
    """A server that wants a password."""
    with (
        tempfile.TemporaryDirectory(prefix="fd-") as folder,
        RedisServer(embedded_binary, Path(folder), tcp=True) as server,
        server.client() as client,
    ):
        client.config_set("requirepass", PASSWORD)
        client.execute_command("AUTH", PASSWORD)
        yield server, Streams(client, prefix)


@pytest.mark.timeout(300)
def test_a_daemon_keeps_texts_and_passwords_to_itself(
    locked: tuple[RedisServer, Streams], prefix: str, tiny: Path, tmp_path: Path
) -> None:
    server, streams = locked
    said = []
    settings = {"ARTIFACT": tiny, "CARRY_FIELDS": "from", "MAX_TEXT_BYTES": 500}
    with Proxy(server.port) as line, ExitStack() as stack:
        url = line.url.replace("redis://", f"redis://default:{PASSWORD}@")
        one = stack.enter_context(Daemon(url, prefix, tmp_path / "log", **settings))
        eventually(one.ready, "the daemon is ready", within_s=60)

        # All that can become of an entry; then a server that refuses, and a line that is cut.
        add, name = streams.client.xadd, streams.input
        ids = [add(name, {"text": f"{MARK} {number}", "from": MARK}) for number in range(5)]
        ids.append(add(name, {"text": f"{MARK}".encode() + b"\xff"}))
        ids.append(add(name, {"text": MARK * 99}))
        ids.append(add(name, {"body": MARK, MARK: MARK}))
        eventually(lambda: streams.exactly_once(ids), "all settled")
        streams.client.rename(streams.output, f"{streams.output}:kept")
        streams.client.rpush(streams.output, "of the wrong type")
        ids.append(add(name, {"text": MARK}))
        eventually(lambda: _counted(one, "wrongtype"), "the refusal is noticed")
        streams.client.delete(streams.output)
        eventually(one.ready, "ready again")
        line.cut()
        server_log = (server.directory / "log").read_text()
        said += [_page(one, path) for path in PATHS]
        said.append(Path(f"/proc/{one.process.pid}/cmdline").read_bytes().decode())
        streams.client.config_set("requirepass", f"{PASSWORD}-2")
        line.cut()
        eventually(lambda: _counted(one, "auth"), "the wrong password is noticed")
        said += [_page(one, path) for path in PATHS]
        streams.client.config_set("requirepass", PASSWORD)
        eventually(one.ready, "ready again")
        assert one.stop() == 0
    said.append(one.log)
    assert not [words for words in said if PASSWORD in words or MARK in words], one.log
    assert MARK not in server_log
    assert len(streams.dead_letters()) == 3


def _counted(one: Daemon, kind: str) -> bool:
    return one.metric("filterd_redis_errors_total", kind=kind) > 0


def _page(one: Daemon, path: str) -> str:
    try:
        answer = one.get(path)
        return f"{answer.headers}{answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.headers}{error.read().decode()}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_commands_that_fail_say_no_password(
    locked: tuple[RedisServer, Streams], debug: tuple[str, ...]
) -> None:
    server, _ = locked
    url = f"redis://me:{PASSWORD}-wrong@127.0.0.1:{server.port}/0"
    for words in (
        ["publish", MARK],
        ["tail", "--count", "1"],
        ["audit"],
        ["dead", "list"],
        ["run"],
    ):
        done = subprocess.run(
            command(*words, *debug),
            env=environment(redis_url=url, http_port="0"),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1, done
        assert PASSWORD not in done.stdout + done.stderr
        assert MARK not in done.stdout + done.stderr


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_password_leaves_the_command_line(
    locked: tuple[RedisServer, Streams], tiny: Path
) -> None:
    server, streams = locked
    url = f"redis://default:{PASSWORD}@127.0.0.1:{server.port}/0"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "filterd", "run", "--redis-url", url, "--group", streams.group),
            *("--input-stream", streams.input, "--artifact", str(tiny), "--http-port", "0"),
        ],
        stderr=subprocess.PIPE,
        env=os.environ,
    )
    try:
        streams.client.xadd(streams.input, {"text": MARK})
        eventually(lambda: streams.client.exists("filterd:verdicts"), "it serves", within_s=60)
        line = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert PASSWORD not in line
    assert streams.input in line
    assert PASSWORD not in said.decode()
