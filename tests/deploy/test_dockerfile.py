"""The Dockerfile: its steps, run in a clean environment as far as they go without Docker."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from tests.commands import environment
from tests.deploy.files import DEPLOY
from tests.e2e.daemon import Daemon
from tests.servers import RedisServer
from tests.waiting import eventually

ROOT = DEPLOY.parent
FINAL = ("cpu", "cuda", "trainer")


@dataclass
class Stage:
    """One stage, with the steps of those that it is built from before its own."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [value for name, value in self.steps if name == instruction]


def stages() -> dict[str, Stage]:
    content = (DEPLOY / "Dockerfile").read_bytes()
    found: dict[str, Stage] = {}
    name = ""
    for step in DockerfileParser(fileobj=io.BytesIO(content)).structure:
        if step["instruction"] == "FROM":
            base, _, name = step["value"].split()
            found[name] = Stage(base, list(found[base].steps) if base in found else [])
        elif name and step["instruction"] != "COMMENT":
            found[name].steps.append((step["instruction"], step["value"]))
    return found


def context(folder: Path) -> Path:
    """What a build is given: what Dockerfile.dockerignore lets through."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert lines[0] == "*"
    for name in (line[1:] for line in lines if line.startswith("!")):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    return folder


def test_the_last_stage_is_the_plain_daemon() -> None:
    assert list(stages())[-1] == "cpu"


@pytest.mark.parametrize("name", FINAL)
def test_what_runs_is_nobody_special(name: str) -> None:
    stage = stages()[name]
    assert stage.all("USER") == ["10001:10001"]
    assert stage.all("COPY") == [f"--from=build-{name} /opt/filterd /opt/filterd"]
    program = json.loads(stage.all("ENTRYPOINT")[-1])
    assert program == ["trainer" if name == "trainer" else "filterd"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment that the steps of ``build-trainer`` made.

    Packages that filterd needs are taken from the tests' own environment instead of an index,
    under the same constraints: pip refuses where they would not do.
    """
    folder = tmp_path_factory.mktemp("image")
    source, target = context(folder / "src"), folder / "opt"
    for step in stages()["build-trainer"].all("RUN"):
        if "--index-url" in step:
            assert f"torch=={_pinned('torch')}" == _echoed(step, source)
            continue
        command = step.replace("/opt/filterd", str(target)).replace("python3", sys.executable)
        if "pip install" in command:
            command += " --quiet --no-index --no-build-isolation"
        _run(command, source)
        if "-m venv" in command:
            # As a newer Python makes it, and with the tests' own packages within reach.
            _run(f"{target}/bin/pip uninstall --quiet --yes setuptools", source)
            libraries = next(target.glob("lib/python*/site-packages"))
            (libraries / "tests-own.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shutil.rmtree(source)
    return target


def test_the_image_has_all_that_belongs_to_the_packages(installed: Path) -> None:
    libraries = next(installed.glob("lib/python*/site-packages"))
    for package in ("filterd", "trainer"):
        files = {
            path.relative_to(ROOT)
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        documents = {path for path in files if path.match("trainer/*.md")}
        there = {path for path in files if (libraries / path).is_file()}
        assert files - there - documents == set()


def test_the_image_runs(installed: Path, tmp_path: Path) -> None:
    out = _run(f"{installed}/bin/filterd classify 'You have won a prize, call 0900 1234'", tmp_path)
    assert out.split("\t")[0] in ("spam", "ham")
    assert "retrain" in _run(f"{installed}/bin/trainer --help", tmp_path)


def test_the_health_check(embedded_binary: Path, short_path: Path, tiny: Path, prefix: str) -> None:
    words = stages()["cpu"].all("HEALTHCHECK")[0].split("CMD ", 1)[1]
    check = [sys.executable, *json.loads(words)[1:]]
    with (
        RedisServer(embedded_binary, short_path / "server") as server,
        Daemon(server.url, prefix, short_path / "log", ARTIFACT=tiny) as daemon,
    ):
        eventually(daemon.ready, "ready", within_s=60)
        settings = environment(http_port=str(daemon.port))
        assert subprocess.run(check, env=settings).returncode == 0
        daemon.stop()
        done = subprocess.run(check, env=settings, stderr=subprocess.DEVNULL)
        assert done.returncode == 1


def _pinned(name: str) -> str:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line.split("==")[1] for line in lines if line.startswith(f"{name}=="))


def _echoed(step: str, folder: Path) -> str:
    """The requirement that a step's shell makes of its last word."""
    return _run(f'echo "torch==$({step.split("$(")[1]}', folder).strip()


def _run(command: str, folder: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
