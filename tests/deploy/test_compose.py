"""compose.yaml: the schema of its makers, and what its parts must agree on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from filterd.settings import Settings
from tests.deploy.files import DEPLOY
from tests.e2e.daemon import Daemon
from tests.servers import RedisServer, binary
from tests.waiting import eventually

PASSWORD = "0123abcd"  # noqa: S105


def compose() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return made


def services() -> dict[str, dict[str, Any]]:
    made: dict[str, dict[str, Any]] = compose()["services"]
    return made


def test_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    files = [DEPLOY / "compose.yaml", DEPLOY / "compose.cuda.yaml"]
    done = subprocess.run([*command, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_named_is_there() -> None:
    made = compose()
    for name, service in services().items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in made["volumes"] or (DEPLOY / source).exists(), (name, source)
        assert set(service.get("networks", [])) <= set(made["networks"])
        assert set(service.get("depends_on", {})) <= set(services())
        for config in service.get("configs", []):
            assert config["source"] in made["configs"]
        if "build" in service:
            dockerfile = (
                DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]
            ).read_text()
            assert re.search(rf"(?m)^FROM \w+ AS {service['build']['target']}$", dockerfile)


def test_every_secret_is_asked_for() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    given = set(re.findall(r"(?m)^(\w+)=$", (DEPLOY / "compose.env").read_text()))
    assert asked == given


def test_every_image_is_pinned_and_every_port_on_the_loopback() -> None:
    for service in services().values():
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+\.\d+(-alpine)?$", service["image"]), service["image"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True


def test_the_daemon_drains_before_it_is_killed() -> None:
    grace_s = float(services()["filterd"]["stop_grace_period"].removesuffix("s"))
    assert grace_s >= Settings().drain_s + 20


def test_prometheus_finds_what_is_scraped() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        for found in job["dns_sd_configs"]:
            for name in found["names"]:
                assert "watching" in services()[name]["networks"]


@pytest.mark.parametrize("kind", ["embedded", "debian"])
def test_redis_and_the_rights_of_its_user(
    kind: str, tmp_path: Path, tiny: Path, short_path: Path
) -> None:
    """A real server with this configuration: the daemon can do its work, and no more."""
    program = binary(kind)
    if program is None:
        pytest.skip("Debian's package redis-server is not installed")
    users = tmp_path / "users.acl"
    contents = {name: config["content"] for name, config in compose()["configs"].items()}
    users.write_text(re.sub(r"\$\{REDIS_PASSWORD:[^}]*\}", PASSWORD, contents["redis-users"]))
    lines = [line for line in contents["redis-conf"].splitlines() if line[:1] != "#"]
    options = dict(line.split(" ", 1) for line in lines)
    assert options.pop("dir") == "/data"
    assert options.pop("aclfile") == "/etc/redis/users.acl"
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    server = RedisServer(program, short_path, tcp=True, config=["--aclfile", str(users), *given])
    url = f"redis://filterd:{PASSWORD}@127.0.0.1:{server.port}/0"
    server.url = url
    with server, redis.Redis.from_url(url) as client:
        names = {
            f"{name}_STREAM": f"filterd:{name.lower()}" for name in ("INPUT", "OUTPUT", "DEAD")
        }
        with Daemon(url, "filterd", tmp_path / "log", ARTIFACT=tiny, **names) as daemon:
            eventually(daemon.ready, "ready", within_s=60)
            client.xadd("filterd:input", {"text": "Lunch at one?"})
            client.xadd("filterd:input", {"x": "no text"})
            eventually(lambda: client.xlen("filterd:output") == 1, "a verdict")
            eventually(lambda: client.xlen("filterd:dead") == 1, "a dead letter")
            assert daemon.stop() == 0
        for command in (["FLUSHALL"], ["SET", "mine", "1"], ["CONFIG", "SET", "dir", "/"]):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
        with redis.Redis(port=server.port) as nobody, pytest.raises(redis.exceptions.RedisError):
            nobody.ping()


def test_the_retraining_runs_on_its_schedule(tmp_path: Path) -> None:
    """The loop in a real shell, with programs that only write down how they were called."""
    (script,) = services()["retrain"]["command"]
    calls = tmp_path / "calls"
    for name, body in {
        "trainer": 'echo "trainer $*"',
        "nice": 'exec "$@"',
        "sleep": 'echo "sleep $(( $1 > 0 && $1 <= 86400 ))"; exec /bin/sleep 0.05',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\nexec >> {calls}\n{body}\n")
        (tmp_path / name).chmod(0o755)
    shell = shutil.which("dash") or "/bin/sh"
    loop = subprocess.Popen(
        [shell, "-c", script.replace("$$", "$")],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "TRAINER_DATA": str(tmp_path / "data")},
    )
    try:
        wanted = ["trainer prepare --source sms-spam-collection --output " + str(tmp_path / "data")]
        wanted += ["sleep 1", "trainer retrain"] * 2
        eventually(
            lambda: calls.exists() and calls.read_text().splitlines()[:5] == wanted, "two nights"
        )
        loop.terminate()
        assert loop.wait(30) in (0, 143, -15)
    finally:
        loop.kill()
        loop.wait(30)
