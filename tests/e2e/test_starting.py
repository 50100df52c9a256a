"""What is wrong at the start is said in one line, with an exit code, and without a traceback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from filterd import artifact
from tests.servers import RedisServer


def start(**settings: object) -> tuple[int, str]:
    """Run a daemon that cannot start: its exit code and its last line."""
    environment = {f"FILTERD_{name}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "filterd", "run"],
        env={**os.environ, "FILTERD_HTTP_PORT": "0", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("filterd: ")]
    assert len(errors) == 1, done.stderr
    return done.returncode, errors[0]


def test_a_url_of_no_known_kind() -> None:
    code, line = start(REDIS_URL="http://127.0.0.1:6379")
    assert code == 2
    assert "FILTERD_REDIS_URL" in line
    assert "redis:" in line


def test_a_server_that_is_not_there_and_its_password() -> None:
    with socket.socket() as taken:  # bound, not listening: refuses
        taken.bind(("127.0.0.1", 0))
        code, line = start(REDIS_URL=f"redis://me:hunter2@127.0.0.1:{taken.getsockname()[1]}/0")
    assert code == 1
    assert "Redis cannot be reached" in line
    assert "hunter2" not in line


def test_a_misspelt_setting() -> None:
    code, line = start(REDIS_ULR="redis://127.0.0.1")
    assert code == 2
    assert "FILTERD_REDIS_URL" in line


def test_a_missing_artifact(tmp_path: Path) -> None:
    code, line = start(REDIS_URL="redis://127.0.0.1:1", ARTIFACT=tmp_path / "nowhere")
    assert code == 1
    assert str(tmp_path / "nowhere") in line


@pytest.mark.parametrize("name", [artifact.WEIGHTS, artifact.VOCABULARY, artifact.MANIFEST])
def test_a_damaged_artifact(redis_server: RedisServer, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(artifact.STARTER, copy)
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    code, line = start(REDIS_URL=redis_server.url, ARTIFACT=copy)
    assert code == 1
    assert name in line


def test_a_port_in_use(redis_server: RedisServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, line = start(REDIS_URL=redis_server.url, HTTP_PORT=taken.getsockname()[1])
    assert code == 2
    assert "FILTERD_HTTP_PORT" in line
